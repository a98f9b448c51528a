"""A first scenario for a config or for a run: what Envoy does with its sockets, written down; pure.

`expected` is a draft as data, with what it needs of another network. `from_config` makes one of
what the model predicts (`envoyassert.predict`), `from_trace` of what was seen, `from_dump` of a
dump; `scenario_text` writes it. `beside` has what a config needs of its files, and `stand_in` is
the bootstrap that is made of a dump.
"""
