"""`envoyassert run --against`: pytest runs every scenario on two Envoys, this pairs the runs."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click
import pytest

from envoyassert.cli import exits
from envoyassert.cli.exits import OF_COMPARISON, TROUBLE
from envoyassert.cli.output import say_json
from envoyassert.cli.plans import envoy_of
from envoyassert.compare.profile import profile_of
from envoyassert.compare.runs import RunPair, RunSide, overall, runs_json, runs_lines
from envoyassert.outputs.output import Output
from envoyassert.pytest_plugin.execute import Judged
from envoyassert.pytest_plugin.session import LACKS, console_of, stream_of
from envoyassert.scenario.plan import DEFAULT_VERSION

if TYPE_CHECKING:
    from envoyassert.outputs import events
    from envoyassert.pytest_plugin.collect import ScenarioItem

#: Exit codes of pytest after which there are runs to compare.
_COMPARABLE = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)


class Against(Output):
    """Two Envoys; a pytest plugin that takes the runs on them, and an output that compares them.

    Args:
        against: the old Envoy, as the user named it.
        envoys: the values of `--envoy`: the new one, or nothing for the default version.

    Raises:
        click.UsageError: they are not two Envoys.
    """

    title = "the comparison"

    def __init__(self, against: str, envoys: Sequence[str]) -> None:
        if len(envoys) > 1:
            raise click.UsageError("--against compares two Envoys: give --envoy once at most")
        after = envoys[0] if envoys else DEFAULT_VERSION
        self._old = envoy_of(against, "--against")
        self.names = (str(self._old), str(envoy_of(after)))
        if self.names[0] == self.names[1]:
            raise click.UsageError(f"--against names the Envoy that is run: {self.names[0]}")
        self._arguments = [f"--envoyassert-envoy={name}" for name in (against, after)]
        self._pairs: dict[tuple[Any, ...], RunPair] = {}
        self._is_complete = False

    def pytest_configure(self, config: pytest.Config) -> None:
        """Be an output, and refuse to run in several processes: the traces would be in those."""
        if config.getoption("numprocesses", None):
            raise pytest.UsageError("--against compares in one process: leave out -n")
        self._console = console_of(config)
        stream_of(config).outputs.append(self)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Take the run of an item, or why there is none."""
        report = yield
        if call.when == "setup" and hasattr(item, "plan"):
            self._take(item, report)  # type: ignore[arg-type]  # only scenario items have plans
        return report

    def _take(self, item: ScenarioItem, report: pytest.TestReport) -> None:
        plan = item.plan
        values = [*plan.matrix_text.items()]
        values += [("launcher", plan.launcher)] if plan.launcher else []
        key = (item.path, *values)
        label = ",".join(f"{axis.rsplit('.', 1)[-1]}={value}" for axis, value in values)
        title = plan.scenario.name + (f"[{label}]" if label else "")
        side = _side(item, report)
        sources = (self._old.version, self._old.image, self._old.binary)
        is_old = (plan.version, plan.image, plan.binary) == sources
        pair = self._pairs.get(key, RunPair(title))
        self._pairs[key] = replace(pair, before=side) if is_old else replace(pair, after=side)

    def session_ended(self, event: events.SessionEnded) -> None:
        """Print the comparison, and why it has not every run."""
        self._is_complete = event.complete
        if self._pairs:
            self._console.section(f"{self.names[0]} against {self.names[1]}")
            for line in runs_lines([*self._pairs.values()], *self.names):
                self._console.line(line)
            if event.stopped:
                self._console.line(f"incomplete: {event.stopped}")

    def run(self, arguments: list[str], plugins: list[object], outcome: Any, output: str) -> int:
        """Run pytest and return the exit code of diff(1).

        Args:
            arguments: for pytest.
            plugins: other plugins, which find what is to be run and take its outcome.
            outcome: one of the outputs, which recognises an invalid scenario.
            output: `text`, or `json` for JSON alone on the standard output.
        """
        quiet = contextlib.redirect_stdout(sys.stderr) if output == "json" else None
        with quiet or contextlib.nullcontext():
            code = pytest.main([*self._arguments, *arguments], plugins=[self, *plugins])
        pairs = [*self._pairs.values()]
        if output == "json":
            say_json(runs_json(pairs, *self.names))
        comparable = code in _COMPARABLE and outcome.exit_code(int(code)) != exits.USAGE
        if not comparable:
            return TROUBLE
        answer = OF_COMPARISON[overall(pairs)]
        # What was not reached may differ.
        return answer if answer or self._is_complete else TROUBLE


def _side(item: ScenarioItem, report: pytest.TestReport) -> RunSide:
    judged = item.funcargs.get("_envoyassert_run")
    if isinstance(judged, Judged):
        return RunSide(profile_of(judged.result.trace), judged.verdict.status)
    if report.skipped and isinstance(report.longrepr, tuple):
        reason = str(report.longrepr[2]).removeprefix("Skipped: ")
        lacking = any(name == LACKS for name, _ in report.user_properties)
        return RunSide(problem=reason, skipped=not lacking)
    text = report.longreprtext.strip().splitlines()
    return RunSide(problem=text[0] if text else "it could not be run")
