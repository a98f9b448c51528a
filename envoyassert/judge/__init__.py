"""Judging a trace: pure functions from a socket graph and expectations to findings.

`judge` judges the expectations of a scenario, each by its word (`envoyassert.words`). What the
words are judged by stands here:

- What findings are: `values`, `near` (near misses), `value_json`; `verdict` is what they add up to.
- What is judged: `context`; `scopes` has the parts of a run, `target` a listener.
- Which sockets and calls are meant: `selection`, `variables`, `matching`, `roles`;
  `nearest` has what comes closest to one that is not there.
- How many: `interval`, `tally`, `each`. When: `instants`, `order`, `timeline`.
- What sockets are to each other: `target` (one listener's), `rivals` (those of others).
- How far the trace is trusted: `certificate`, of which `account_checks` holds the accounts of the
  kernel (`kernel_account`) and of Envoy (`envoy_account`) against the graph as of their time
  (`settled`).
- What changes a finding afterwards: `left_open`, which also has what a state and an excerpt can
  answer. `counterfactual` looks for the change of a scenario by which a failed expectation would
  hold.
"""
