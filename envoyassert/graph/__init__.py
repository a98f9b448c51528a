"""The socket graph: what a trace shows, by kernel socket instead of by system call; pure.

`fold` makes the graph (`model`) of a trace, event by event. It keeps account of
`descriptor_tables`, `registrations` with epolls, `messages` that pass sockets on (`passes`),
`namespaces`, `socket_files` and `kernel_addresses`. `gaps` finds what was lost or hidden; at the
end `kinds` says which processes are Envoys, and what each socket was for. `cut` has the parts of a
run, `lookup` which socket the kernel gives a client to.
"""
