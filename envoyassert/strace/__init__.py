"""What strace(1) saw of a run, in the form of our own events.

An independent reading: it stops Envoy at every call (ptrace(2)) where the probe looks on, so it
needs neither root nor eBPF, slows Envoy down, and knows nothing of how the probe works.

`log` makes the events of a log, of whose text `lines` has the lines and `values` the arguments.
"""
