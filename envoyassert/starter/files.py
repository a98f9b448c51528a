"""The files of a start: a first scenario, and what runs it in continuous integration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

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
        instead: what to do by hand if another file of that name is there already, or "".
    """

    name: str
    text: str
    purpose: str
    instead: str = ""


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
        requirement: what pip installs, such as `envoyassert==1.0`.
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
