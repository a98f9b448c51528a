"""The documentation site: `make docs`.

`source` puts together what Sphinx reads: the pages of docs/, those of the repository's root, a page
for each word of the language (`words`) and for each shipped scenario. `pictures` draws the pictures
of docs/listens.md from runs of a real Envoy.
"""
