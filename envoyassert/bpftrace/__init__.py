"""bpftrace in place of the probes: a program for it, and what its logs say as events.

`form` is what the program and the reader of its log share; `imported` reads an older form too.
"""
