"""Scenario files: their text, their meaning, and the runs they stand for; pure.

- From text to a scenario: `source` (YAML with places) and `syntax`, `load`, `model`. What is wrong:
  `complaint`, `coherence`, `phases`, `scope`; in an untrusted file `untrusted` and `harmless`.
- What the words share: `grammar`, `vocabulary`, `conditional`, `selector`, `pattern`,
  `quantity`, `timing`, `option_value`, `invariant`.
- From a scenario to runs: `matrix` makes each `plan`, by `overlay` and `change`; `served` has what
  its control plane makes of it (`xds`).
- What Envoy's config says: `envoy_file` and `text_proto` read it; `listeners` has its listeners,
  `config_files` and `file_names` its files, `own_namespaces` its network namespaces, `absent` what
  stands in for what is not there, `needs` the capabilities that it takes.
- Where the clients of steps go: `destination`; `needs` says whether there is such a place.
- For others: `schema` (editors), `reference` (the documentation), `given` (digests of a run).
"""

#: The option of commands that has something stand in for files that are not there.
STAND_IN_OPTION = "--stand-in"
