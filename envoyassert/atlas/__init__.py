"""Scenarios on versions of Envoy: what holds where, and what changed from one to the next; pure.

`model` has the states and changes; `page` shows them.
"""
