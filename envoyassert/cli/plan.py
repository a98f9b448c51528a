"""`envoyassert plan`: what a change of a config does to each listener, before it is made."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import platform
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from envoyassert.cli.exits import DiffLikeCommand
from envoyassert.cli.options import (
    DRAWN,
    dump_options,
    format_option,
    launcher_option,
    refuse_beside,
    refuse_file,
    stand_in_option,
    untrusted_option,
)
from envoyassert.cli.output import say, say_json
from envoyassert.cli.pictures import PLAN_FORMATS, deliver
from envoyassert.cli.plan_inputs import Input, Taken, opened
from envoyassert.cli.transition import WAYS, refuse_launcher, try_transitions
from envoyassert.cli.where import need_linux
from envoyassert.errors import LaunchError, MachineError, ProbeUnavailableError, ScenarioError
from envoyassert.predict.effects import Side, Way
from envoyassert.review.answer import CHANGES, LOSES, NOTHING, Answer
from envoyassert.shown import joined

if TYPE_CHECKING:
    from envoyassert.cli.plan_run import Compared
    from envoyassert.picture.plan import PlanPicture
    from envoyassert.predict.prediction import Prediction

FORMAT = "envoyassert-plan/2"
#: Exit codes, by the model's result. 2 is trouble.
CODES = {NOTHING: 0, CHANGES: 1, LOSES: 3}
_ALL = "all"


@click.command(cls=DiffLikeCommand)
@click.argument("files", nargs=-1, required=True, metavar="OLD [NEW]")
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Change this in the new one: a field of every listener, a path, concurrency, or an "
    "argument of Envoy (--base-id=7).",
)
@click.option("--model", is_flag=True, help="Run nothing: by the model alone.")
@click.option("--run", "must_run", is_flag=True, help="Run both, or say why that is not possible.")
@click.option(
    "--way",
    "ways",
    multiple=True,
    type=click.Choice([*(way.value for way in Way), _ALL]),
    metavar="|".join([*(way.value for way in Way), _ALL]),
    help="How the change reaches Envoy (default: all); may be repeated.",
)
@click.option("--all", "everything", is_flag=True, help="Show what stays as it is too.")
@click.option("--traces", is_flag=True, help="OLD and NEW are traces; nothing is run.")
@click.option(
    "--expect",
    type=click.Path(exists=True, dir_okay=False),
    help="Judge the new one by this scenario, or by a file with only `expect`.",
)
@click.option(
    "--which", default="", metavar="RUN", help="Of a scenario with several runs: concurrency=2."
)
@click.option(
    "--concurrency",
    metavar="N",
    type=click.IntRange(0, 1024),
    help="Number of workers of both; default: as a scenario says, else as drafted.",
)
@dump_options("With bootstraps: a dump, whose listeners are served in their control planes' place.")
@stand_in_option
@launcher_option
@click.option(
    "--envoy",
    metavar="VERSION|IMAGE|BINARY",
    help="Run both on this Envoy; a version is asked of the model too.",
)
@click.option(
    "--transition",
    type=click.Choice(WAYS),
    help="Really make the change, with clients on every listener, and report what they lost.",
)
@untrusted_option
@format_option(more=("markdown", *PLAN_FORMATS), to_file=DRAWN)
def plan(
    files: tuple[str, ...],
    changes: tuple[str, ...],
    model: bool,
    must_run: bool,
    ways: tuple[str, ...],
    everything: bool,
    traces: bool,
    expect: str | None,
    which: str,
    concurrency: int | None,
    dump: Path | None,
    pod: str,
    stand_in: bool,
    launcher: Any,
    envoy: str | None,
    transition: str | None,
    untrusted: bool,
    output: str,
    target: str | None,
) -> int:
    """Show what a change of a config does to each listener.

    OLD and NEW are scenarios, or what `draft` takes: Envoy configs, dumps, traces; NEW may be left
    out for a --set. Each is a file, `-`, a file of a git revision (HEAD~1:envoy.yaml), or of
    git's index (:envoy.yaml).

    A model of Envoy says what the change does by each way that it can reach Envoy: a push by LDS or
    ADS, a hot restart, a restart. That needs neither root nor an Envoy. Where there are both, the
    two are run too, and their sockets at start-up are shown before and after. With --traces both
    are recorded already. --transition makes the change to a real Envoy.

    `--format html` makes one page that needs no network: the sockets of both, and what each way
    does.

    Symbols: ~ changed, -/+ replaced, + added, - removed, ! refused.

    Exit code: 0 nothing changes; 1 something does; 3 clients lose something, or Envoy refuses it;
    2 trouble: invalid usage or file, a trace that is incomplete, --run without root or an Envoy.
    With --expect the verdict decides: 0 as expected, 1 not, 2 inconclusive.

    Example: envoyassert plan HEAD~1:envoy.yaml envoy.yaml --way push
    """
    refuse_file(output, target)
    _check(files, changes, traces=traces, model=model, must_run=must_run, expect=expect)
    form = _Form(output, target, everything)
    with opened(files) as inputs, _named(inputs):
        names = files[0], " ".join([files[-1], *(f"--set {change}" for change in changes)])
        if traces:
            from envoyassert.cli.plan_run import Compared, read_both

            refuse_beside(
                "--traces", "which", "concurrency", "dump", "pod", "stand_in", "launcher", "envoy",
                "ways", "model", "must_run",
            )  # fmt: skip
            return form.give(None, Compared(read_both(inputs), names, expect))
        taken = Taken(changes, concurrency, envoy or "", which, dump, pod, stand_in, untrusted)
        if transition:
            refuse_beside("--transition", "traces", "expect", "model", "must_run", "ways")
            if output in PLAN_FORMATS:
                raise click.UsageError(
                    f"--format {output} has nothing of --transition: say text, json or markdown"
                )
            refuse_launcher(launcher)
            need_linux()
            from envoyassert.cli.plan_run import plans_of

            plans = plans_of(taken, inputs)
            return try_transitions(plans, transition, names, output, target, everything=everything)
        asked = _Asked(inputs, names, taken, ways, everything)
        must = must_run or expect is not None
        why_not = "" if must or model else _why_not()
        compared = None
        if not (model or why_not):
            compared, why_not = asked.compared(launcher, expect, must_run=must)
        ran = "both were run" if compared is not None else "nothing was run"
        answer = asked.answer(f"{ran} ({why_not})" if why_not else ran)
        return form.give(answer, compared, asked)


def _check(
    files: Sequence[str],
    changes: Sequence[str],
    *,
    traces: bool,
    model: bool,
    must_run: bool,
    expect: str | None,
) -> None:
    """Refuse what does not go together.

    Raises:
        click.UsageError: not two files, or one and a change; or options that exclude each other.
    """
    if traces and (len(files) != 2 or changes):
        raise click.UsageError("--traces takes two traces, and no --set")
    if not traces and len(files) != 2 and not (len(files) == 1 and changes):
        raise click.UsageError("give two files, or one and --set FIELD=VALUE")
    if model and must_run:
        raise click.UsageError("--model runs nothing: leave out --run")
    if model and expect is not None:
        raise click.UsageError("--expect judges a run: leave out --model")


class _Asked:
    """Two inputs, which are read as far as is needed."""

    def __init__(
        self,
        inputs: Sequence[Input],
        names: tuple[str, str],
        taken: Taken,
        ways: tuple[str, ...],
        everything: bool,
    ) -> None:
        self._inputs = inputs
        self._names = names
        self._taken = taken
        self._ways = [way for way in Way if not ways or _ALL in ways or way.value in ways]
        self._everything = everything
        self._sides: tuple[Side, Side] | None = None

    def answer(self, ran: str) -> Answer:
        """Return what the model says.

        Args:
            ran: what was run, in words.

        Raises:
            ScenarioError: a config is none that Envoy reads.
        """
        from envoyassert.cli.plan_sides import is_set_wrongly, refused
        from envoyassert.predict.change import predict_change
        from envoyassert.predict.prediction import PredictError

        old, new = self._both()
        try:
            changes = tuple(
                predict_change(old, new, way, version=self._version) for way in self._ways
            )
        except PredictError as error:
            change = is_set_wrongly(self._taken.changes, error)
            if change:
                raise click.UsageError(f"--set: `{change}`: {error}") from error
            raise refused(self._at_fault(old), error) from error
        return Answer(*self._names, changes, ran, self._everything)

    def starts(self) -> tuple[Prediction, Prediction]:
        """Return what the model says of a start of each; `answer` was asked for before."""
        from envoyassert.predict.start import predict_start

        before, after = (
            predict_start(
                side.config,
                concurrency=side.workers,
                version=self._version,
                discovered=side.discovered,
            )
            for side in self._both()
        )
        return before, after

    @property
    def _version(self) -> str:
        envoy = self._taken.envoy
        return envoy if re.fullmatch(r"\d+\.\d+\.\d+", envoy) else ""

    def _at_fault(self, old: Side) -> Path:
        """Return which of the two files the model does not take."""
        from envoyassert.predict.prediction import PredictError
        from envoyassert.predict.shape import bootstrap_as_read, listeners_as_read

        try:
            bootstrap_as_read(old.config)
            listeners_as_read(old.discovered or (), "")
        except PredictError:
            return self._inputs[0].path
        return self._inputs[-1].path

    def compared(
        self, launcher: Any, expect: str | None, *, must_run: bool
    ) -> tuple[Compared | None, str]:
        """Run both, and return what their starts differ in; None, and why, if that fails here.

        Args:
            launcher: how to start them.
            expect: a file of expectations for the new one, None for none.
            must_run: whether it is an error that they cannot be run.

        Raises:
            EnvoyAssertError: a file is not valid, or Envoy cannot be run.
        """
        from envoyassert.cli import plan_run
        from envoyassert.cli.plan_sides import side_of_plan

        plans = plan_run.plans_of(self._taken, self._inputs)
        self._sides = side_of_plan(plans[0]), side_of_plan(plans[1])
        try:
            traces = plan_run.run_both(plans, launcher)
        except (MachineError, LaunchError) as error:
            if must_run:
                raise
            return None, error.message.partition("\n")[0]
        return plan_run.Compared(traces, self._names, expect), ""

    def _both(self) -> tuple[Side, Side]:
        if self._sides is None:
            self._sides = self._read()
        return self._sides

    def _read(self) -> tuple[Side, Side]:
        from envoyassert.cli.plan_sides import read_bootstrap, side_of_plan, sides_of

        taken = self._taken
        if taken.dump is None and not (taken.pod or taken.which):
            read = {one.path: read_bootstrap(one.path, one.name) for one in self._inputs}
            both = [read[one.path] for one in self._inputs]
            old, new = both[0], both[-1]
            if old is not None and new is not None:
                return sides_of(old, new, taken.changes, taken.concurrency)
        from envoyassert.cli.plan_run import plans_of

        plans = plans_of(taken, self._inputs)
        return side_of_plan(plans[0]), side_of_plan(plans[1])


def _why_not() -> str:
    """Return why no Envoy can be run and traced here, "" if nothing is known against it."""
    if platform.system() != "Linux":
        return "this is not Linux"
    if os.geteuid() != 0:
        return "that needs root"
    from envoyassert.probe.bcc_import import find_bcc

    try:
        find_bcc()
    except ProbeUnavailableError:
        return "that needs bcc"
    return ""


class _Form:
    """How an answer is given.

    Args:
        output: the format.
        target: the file to write, None for the standard output.
        everything: whether what stays as it is is shown too.
    """

    def __init__(self, output: str, target: str | None, everything: bool) -> None:
        self._output = output
        self._target = target
        self._everything = everything

    def give(
        self, answer: Answer | None, compared: Compared | None, asked: _Asked | None = None
    ) -> int:
        """Give what the model says and what was run, and return the exit code.

        Args:
            answer: the one, None if no model was asked.
            compared: the other, None if nothing was run.
            asked: what the model was asked, for the sockets of both.
        """
        if self._output in PLAN_FORMATS:
            deliver(
                PLAN_FORMATS[self._output](self._picture(answer, compared, asked)), self._target
            )
        elif self._output == "json":
            say_json(_as_json(answer, compared))
        else:
            lines = self._lines(answer, compared)
            if self._target is None:
                say(*lines)
            else:
                deliver(joined(lines), self._target)
        codes = [CODES[answer.result]] if answer is not None else []
        codes += [compared.exit_code] if compared is not None else []
        if compared is not None and compared.is_judged:
            return compared.exit_code
        return 2 if 2 in codes else max(codes)

    def _lines(self, answer: Answer | None, compared: Compared | None) -> list[str]:
        output = self._output
        lines = compared.lines(everything=self._everything) if compared is not None else []
        said = _forms(answer, output)
        if output != "markdown":
            return [*lines, *([""] if lines and said else []), *said]
        if lines:
            from envoyassert.review.markdown import folded

            lines = ["", *folded("Both were run", lines)]
        return [*said, *lines]

    def _picture(
        self, answer: Answer | None, compared: Compared | None, asked: _Asked | None
    ) -> PlanPicture:
        from envoyassert.picture.plan import PlanPicture, plan_picture

        run = compared.picture(everything=self._everything) if compared is not None else None
        verdict = compared.verdict_in_words() if compared is not None else None
        if answer is not None and asked is not None:
            return plan_picture(answer, asked.starts(), run, verdict)
        return PlanPicture(run.names if run else ("", ""), run=run, verdict=verdict)


def _as_json(answer: Answer | None, compared: Compared | None) -> dict[str, Any]:
    from envoyassert.review.data import answer_json

    return {
        "format": FORMAT,
        "model": answer_json(answer) if answer is not None else None,
        "run": compared.as_json() if compared is not None else None,
        "verdict": compared.verdict_as_json() if compared is not None else None,
    }


def _forms(answer: Answer | None, output: str) -> list[str]:
    if answer is None:
        return []
    if output == "markdown":
        from envoyassert.review.markdown import answer_markdown

        return answer_markdown(answer)
    from envoyassert.review.text import answer_lines

    return answer_lines(answer)


@contextlib.contextmanager
def _named(inputs: Sequence[Input]) -> Iterator[None]:
    """Have the problems of a file that was copied say what the user named."""
    try:
        yield
    except ScenarioError as error:
        names = {str(one.path): one.name for one in inputs}
        raise ScenarioError(
            [dataclasses.replace(p, path=names.get(p.path, p.path)) for p in error.problems]
        ) from error
