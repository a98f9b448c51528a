"""How Sphinx builds the site: `make docs`."""

from __future__ import annotations

from importlib.metadata import version as version_of

project = "envoyassert"
version = release = version_of(project)
extensions = ["myst_parser"]
# Anchors as Markdown viewers make them: links between headings hold in a checkout, too.
myst_heading_anchors = 4
# A page that is not in a list of contents, or a link to nowhere, ends the build (`-W`).
nitpicky = True
# `--concurrency` in text stays as it is typed.
smartquotes = False
html_theme = "furo"
html_title = f"envoyassert {version}"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
