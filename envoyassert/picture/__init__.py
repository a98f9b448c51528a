"""A run as a picture, as plain data and drawn: every format draws the same parts.

`socket_map` has who holds which kernel socket, `timeline` every call on a lane of its thread,
`steps` how the listeners came to be served.
"""
