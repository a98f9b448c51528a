"""The faces of envoyassert inside pytest: options, collection of YAML files, fixtures.

`plugin` has the hooks, `options` and `session` what they go by; `as_written` keeps pytest from
rewriting our asserts. `collect` makes tests of scenario files (`named`: those that the command is
given), and `execute` runs one. `fixtures` and `factory` are for tests in Python, both on the probe
of this `machine`. `evidence` is what is kept of a run, `representation` how a failed one shows.
What ends one early: `termination`, `timeouts`. From pytest's reports `source` makes the events of
the outputs, which come from xdist's workers by `crossing`; `runs` counts them, and `console` is
where outputs print.
"""
