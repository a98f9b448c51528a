"""A first scenario for a config or for a run: what Envoy does with its sockets, written down; pure.

`expected` is a draft as data, with what it needs of another network: `from_config`, `from_trace`
and `from_dump` make one, `scenario_text` writes it. For a config there are its `socket_options`,
with the listeners that Envoy gives up, and what it needs of its files (`beside`). A dump is read by
`dumped`, and `stand_in` is the bootstrap that is made of it.
"""
