"""Configs made at random: the model predicts, a real Envoy runs them, and differences are shrunk.

`configs` makes bootstraps, `case` is one of them with what is done to it, `trial` runs a case and
holds it against the prediction, `difference` says which differences are known, `search` tries many
cases and cuts what differs down.
"""
