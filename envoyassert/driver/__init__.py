"""What drives a run: the steps carried out on a running Envoy, its clients; an edge.

A kind of step of `envoyassert.steps` that needs an edge has its driver in the module of the same
name here. `drivers` finds the driver of a kind and holds those of a run; `base` is what each is
given, `client` one client. `members` are the Envoys of a run, `recorded` begins and ends its trace.
"""
