"""What every page has in common: its templates show text as text, and it loads nothing."""

from __future__ import annotations

import base64
import hashlib

from jinja2 import Environment, PackageLoader, StrictUndefined

from envoyassert.shown import shown_lines


def _as_text(value: object) -> object:
    """Return a value of a page as it is shown; what is markup already stays."""
    return shown_lines(value) if type(value) is str else value


def templates_of(package: str) -> Environment:
    """Return the templates in the directory `templates` of a package."""
    return Environment(
        loader=PackageLoader(package, "templates"),
        autoescape=True,
        finalize=_as_text,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def content_policy(script: str) -> str:
    """Return a policy by which a page loads nothing, and runs its own script alone.

    Args:
        script: its script, as it stands in the page.
    """
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
