"""The model: what Envoy does with its sockets, by its config, its version and its workers; pure.

`start.predict_start` has all of a start as a `prediction`: the `sockets` of each address of each
`listener`, with the `options` that Envoy sets. `socket_options` has those that a config names
itself, and the listeners that Envoy gives up for one. What Envoy refuses is `refusals`, with its
words; `conflicts` has the addresses that do not go together. `shape` reads a config as Envoy does:
`messages` has the fields and the versions that know them, `plain` their plain values. `deciding` is
what of a config is kept in a trace, `expectations` makes expectations of a prediction. A dump of a
running Envoy is read by `dumped`. What the model does not know is in the prediction, fact by fact.

What a change of a config does is predicted by `change`, for each way by which it can reach Envoy: a
`push`, and the two of `restarts`; the answer is data of `effects`. It compares `fields` as protobuf
does, follows the kernel sockets that each listener has `held`, and names what is `around` them.
"""
