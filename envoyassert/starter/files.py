"""The files of a start: a first scenario, and what runs it in continuous integration."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

_TEMPLATES = Path(__file__).parent / "templates"

#: Kinds of continuous integration that there is a file for.
CI_KINDS = ("github", "gitlab")

GITLAB_ROOT = ".gitlab-ci.yml"
GITLAB_JOB = ".gitlab/envoyassert.gitlab-ci.yml"


@dataclass(frozen=True)
class StarterFile:
    """A file to write.

    Args:
        name: its path, relative to the repository.
        text: what is in it.
        purpose: what it is for, in a few words.
        instead: what to do manually if another file of that name is there already, or "".
    """

    name: str
    text: str
    purpose: str
    instead: str = ""


@dataclass(frozen=True)
class Requirement:
    """What pip installs in continuous integration.

    Args:
        text: for pip.
        made_by: how to have it there, or "" if it is there.
    """

    text: str
    made_by: str = ""


def requirement(version: str, origin: Mapping[str, Any] | None) -> Requirement:
    """Return what installs envoyassert elsewhere as it was installed here.

    Args:
        version: of envoyassert.
        origin: where pip had it from (direct_url.json of PEP 610); None for a package index.
    """
    if origin is None:
        return Requirement(f"envoyassert=={version}")
    url = str(origin["url"])
    control = origin.get("vcs_info")
    if control:
        return Requirement(f"envoyassert @ {control['vcs']}+{url}@{control['commit_id']}")
    if not url.startswith("file:"):
        return Requirement(f"envoyassert @ {url}")
    path = shlex.quote(unquote(urlsplit(url).path))
    return Requirement(
        f"./wheels/envoyassert-{version}-py3-none-any.whl",
        f"python -m pip wheel --no-deps --wheel-dir wheels {path}",
    )


def first_scenario(directory: str) -> StarterFile:
    """Return the first scenario.

    Args:
        directory: where scenarios live, relative to the repository.
    """
    text = _template("first.envoyassert.yaml", directory)
    return StarterFile(
        f"{directory}/first.envoyassert.yaml", text, "a first scenario, explained line by line"
    )


def ci_files(kind: str, directory: str, requirement: str) -> list[StarterFile]:
    """Return what runs the scenarios in continuous integration.

    Args:
        kind: one of CI_KINDS.
        directory: where scenarios live, relative to the repository.
        requirement: what pip installs, such as `./wheels/envoyassert-1.0-py3-none-any.whl`.
    """
    text = _template(f"{kind}.yml", directory, requirement)
    if kind == "github":
        return [
            StarterFile(
                ".github/workflows/envoyassert.yml", text, "runs the scenarios for every change"
            )
        ]
    include = _template("gitlab-include.yml", directory)
    return [
        StarterFile(GITLAB_JOB, text, "the job that runs the scenarios"),
        StarterFile(
            GITLAB_ROOT,
            include,
            "includes that job",
            instead=f"add to it:\ninclude:\n  - local: {GITLAB_JOB}",
        ),
    ]


def _template(name: str, directory: str, requirement: str = "") -> str:
    text = (_TEMPLATES / name).read_text(encoding="utf-8")
    return text.replace("@scenarios@", directory).replace("@requirement@", requirement)
