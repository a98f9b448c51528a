"""The shell steps of CI files, as their runners would execute them; enough of it for our own files.

An expression or a condition that is not known here is an error: a step must not be run otherwise
than it says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Conditions that hold after a success, and after a failure.
_CONDITIONS = {"": (True, False), "always()": (True, True)}


@dataclass(frozen=True)
class Step:
    """A step that is a script.

    Args:
        name: what it is called.
        script: for bash.
        environment: variables of its own.
        after_failure: whether it runs when a step before it has failed.
    """

    name: str
    script: str
    environment: Mapping[str, str]
    after_failure: bool = False


def github_steps(
    steps: list[dict[str, Any]], environment: Mapping[str, Any], context: Mapping[str, str]
) -> list[Step]:
    """Return the scripts among the steps of a workflow's job or of a composite action.

    Args:
        steps: as parsed.
        environment: the job's.
        context: values of the expressions in the environments, such as `github.workspace`.
    """
    found = []
    for step in steps:
        if "run" not in step:
            assert "uses" in step
            continue
        assert "${{" not in step["run"], "what is spliced into a script could be a script itself"
        after_success, after_failure = _CONDITIONS[step.get("if", "")]
        assert after_success
        variables = {**environment, **step.get("env", {})}
        values = {name: expand(str(value), context) for name, value in variables.items()}
        found.append(Step(step["name"], step["run"], values, after_failure))
    return found


def gitlab_steps(job: dict[str, Any], context: Mapping[str, str]) -> list[Step]:
    """Return the scripts of a job: the first two in one shell, and the one that always runs.

    Args:
        job: as parsed.
        context: the variables that the runner and the project have.
    """
    values = dict(context)
    for name, value in job["variables"].items():
        values[name] = re.sub(r"\$(\w+)", lambda match: values[match[1]], value)
    script = "\n".join([*job["before_script"], *job["script"]])
    return [
        Step("script", script, values),
        Step("after_script", "\n".join(job["after_script"]), values, after_failure=True),
    ]


def expand(text: str, context: Mapping[str, str]) -> str:
    """Put the values of expressions into a text."""
    return re.sub(r"\$\{\{ *([\w.]+) *\}\}", lambda match: context[match[1]], text)
