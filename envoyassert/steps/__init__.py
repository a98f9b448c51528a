"""Carry out the steps of a scenario on a running Envoy; an edge.

A kind of step is a function in a module of this package: it does what is asked, waits for its own
condition of completion with the step's deadline, and tells what came of it. Behaviour of Envoy (a
refused connection, an exit) is a fact to be judged; what keeps the step itself from being carried
out is a `StepProblem`.
"""
