"""Start a real Envoy: as a local process in namespaces of its own, or in a container; an edge.

`choose` finds the launcher of a plan; `base` is what each offers and `running` what their Envoys
have in common.

- A process: `process` and `starters`, in the namespaces of `namespace`, `user_namespace`,
  `own_addresses` and `name_lookup`; `call_filter` has its seccomp filter.
- A container: `container`, `creation`, `unpadded`, `image`; `engine` is the Docker engine.
- Which Envoy: `envoy_source`; from a `wheel` of the package `index` in the `cache`, or an
  `executable`; `elf` and `version` say what it is. `asked` and `validate` ask it without a run.
- Other files of the cache: `kept`.
- As whom it runs: `limits`. Files below other roots: `inside`. Tools and pip: `programs`. System
  calls that Python lacks: `kernel`.
- A run: its directory (`rundir`), `admin` endpoint, `readiness`, log (`kept_log`), and which of its
  processes is Envoy (`process_tree`).
- Nothing is left: `marked` ends the processes of a run, `release` what is open at the end of the
  interpreter; `sweep` removes what killed sessions left.
"""
