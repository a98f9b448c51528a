"""Failures as annotations of GitHub Actions, on the line of the YAML file that was not met.

Source: GitHub Docs, "Workflow commands for GitHub Actions" (setting an error message), and
`@actions/core`, which escapes in the way done here.
"""

from __future__ import annotations

import os.path
from collections.abc import Iterable
from dataclasses import dataclass

from envoyassert.errors import Problem
from envoyassert.shown import shown, shown_lines


@dataclass(frozen=True)
class Annotation:
    """What is wrong at one place of a file.

    Args:
        path: the file, relative to the root of the repository.
        line: 1-based.
        title: a few words.
        message: the text, of any number of lines.
        column: 1-based, 0 if unknown.
    """

    path: str
    line: int
    title: str
    message: str
    column: int = 0


def workflow_command(annotation: Annotation) -> str:
    """Return the line of output from which GitHub makes an annotation."""
    properties = {"file": annotation.path, "line": str(annotation.line)}
    if annotation.column:
        properties["col"] = str(annotation.column)
    properties["title"] = annotation.title
    described = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::error {described}::{_data(annotation.message)}"


def _data(text: str) -> str:
    return shown_lines(text).replace("%", "%25").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(shown(text)).replace(":", "%3A").replace(",", "%2C")


def problem_annotations(problems: Iterable[Problem], workspace: str = "") -> list[Annotation]:
    """Return the problems of a scenario file as annotations; none for the file as a whole.

    Args:
        problems: what is wrong with it.
        workspace: the directory of the checkout, or "" if unknown.
    """
    return [
        Annotation(
            in_repository(one.path, workspace),
            one.line,
            "invalid scenario",
            shown(one.text),
            one.column,
        )
        for one in problems
        if one.line
    ]


def in_repository(path: str, workspace: str) -> str:
    """Return a path relative to the checkout, as annotations need it.

    Args:
        path: an absolute path, or one relative to the current directory.
        workspace: the directory of the checkout, or "" if unknown.
    """
    if not workspace:
        return path
    relative = os.path.relpath(path, workspace)
    return path if relative.startswith(os.pardir) else relative
