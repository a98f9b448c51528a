"""Start a real Envoy: as a local process in namespaces of its own, or in a container; an edge.

`choose` finds the launcher of a plan; `base` is what each offers and `running` what their Envoys
have in common.

- A process: `process` and `starters`, in the namespaces of `namespace`, `user_namespace` and
  `own_network`; `call_filter` has its seccomp filter.
- A container: `container`, `creation`, `unpadded`, `image`; `engine` is the Docker engine.
- Which Envoy: `envoy_source`; from a `wheel` of the package `index`, or an `executable`;
  `elf` and `version` say what it is. `asked` and `validate` ask it without a run.
- The cache, and what is kept in it: `kept`.
- As whom it runs: `limits`. Files below other roots: `inside`. Tools and pip: `programs`. System
  calls that Python lacks: `kernel`.
- A run: its directory (`rundir`), `admin` endpoint, `readiness`, log (`kept_log`), and its
  `processes`: which of them is Envoy, and that none is left.
- Nothing else is left: `release` closes what is open at the end of the
  interpreter; `sweep` removes what killed sessions left.
"""
