"""The model: what Envoy does with its sockets, by its config alone; pure.

What a change of a config does, by each way that it can reach Envoy, is data of `effects`.
"""
