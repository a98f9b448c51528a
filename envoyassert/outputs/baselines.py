"""Baselines: each run is held against a stored story, and `--update-baseline` rewrites them.

A test asks for the answer in the process that makes the run. What is stored is written at the end
of the session by the one process that prints: whole, or not at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from envoyassert.baseline import SUFFIX
from envoyassert.errors import EnvoyAssertError, ScenarioError
from envoyassert.outputs.output import Console, Option, Output, OutputRefusedError, Settings

if TYPE_CHECKING:
    from typing_extensions import Self

    from envoyassert.baseline.answer import BaselineAnswer, RunKey, Story
    from envoyassert.baseline.stored import Stored
    from envoyassert.outputs import events

_BASELINE = Option(
    "baseline",
    "DIR",
    "Hold what each run does against the baseline that is stored there; a difference is a failure.",
    "Hold each run against the baseline stored there.",
)
_UPDATE = Option(
    "update_baseline",
    "",
    "Rewrite the baselines of the runs of this session, and say what changed. Never green in CI.",
    "Rewrite the baselines of these runs.",
)
#: Changes of one run that are printed; the files have them all.
_MOST = 6


class BaselineUpdateError(EnvoyAssertError):
    """The baselines were not updated as a green session would say."""


class _Taken:
    """What an update takes of a scenario's runs.

    Args:
        name: how the file of baselines names the scenario.
        path: that file.

    Attributes:
        stories: by run; of a run that is repeated, the last.
        runs: the names of all runs of it, also of those without a story.
        titles: the title of the run that a story is of.
    """

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        self.stories: dict[RunKey, Story] = {}
        self.runs: set[str] = set()
        self.titles: dict[RunKey, str] = {}


class _Unused(NamedTuple):
    """A stored run that is none of the session's.

    Args:
        path: the file of baselines.
        run: its name.
        is_sure: whether the session had every run of a directory that the scenario is in.
    """

    path: Path
    run: str
    is_sure: bool

    def __str__(self) -> str:
        return f"{self.path}: {self.run}"


class Baselines(Output):
    """Says how runs stand to their baselines, and rewrites these if it is asked to.

    Args:
        directory: of the baselines.
        console: where it is said.
        updates: whether they are rewritten.
        in_ci: whether this is continuous integration.
    """

    title = "baselines"
    options = (_BASELINE, _UPDATE)
    is_essential = True

    def __init__(self, directory: Path, console: Console, *, updates: bool, in_ci: bool) -> None:
        self.directory = directory
        self.updates = updates
        self._console = console
        self._in_ci = in_ci
        self._read: dict[Path, Stored | None] = {}
        self._taken: dict[Path, _Taken] = {}
        self._answers: dict[str, BaselineAnswer] = {}
        self._conflicts: set[RunKey] = set()
        self._unreadable: list[str] = []
        self._refuses = False
        self._collects_only = False

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """Return it if a directory is named.

        Raises:
            OutputRefusedError: an update is asked for, and no directory.
        """
        directory = settings.options.get(_BASELINE.name)
        updates = bool(settings.options.get(_UPDATE.name))
        if not directory:
            if updates:
                raise OutputRefusedError(f"{_UPDATE.flag}: say by {_BASELINE.flag} DIR where")
            return None
        return cls(Path(directory), settings.console, updates=updates, in_ci=settings.in_ci)

    # In the process that makes a run.

    def place_of(self, run: events.Run) -> tuple[str, Path]:
        """Return how a file of baselines names the scenario of a run, and where that file is."""
        from envoyassert.baseline.stored import place_of

        return place_of(run.scenario.location.file, self.directory)

    def stored(self, name: str, path: Path) -> Stored | None:
        """Return the baselines of a scenario, None if there are none; each file is read once.

        Args:
            name: how they must name the scenario.
            path: their file.

        Raises:
            ScenarioError: the file is not valid, or is of another scenario.
        """
        if path not in self._read:
            self._read[path] = _stored(name, path)
        return self._read[path]

    # In the process that prints.

    def properties(self, event: events.RunEvent) -> Mapping[str, str]:
        """Return the answer, for JUnit."""
        if event.event != "run_judged" or event.baseline is None:
            return {}
        return {"baseline": event.baseline.word}

    def session_began(self, event: events.SessionBegan) -> None:
        """Take note of whether anything is run."""
        self._collects_only = event.collects_only

    def file_refused(self, event: events.FileRefused) -> None:
        """Take note of a scenario of which the runs are not known."""
        self._refuses = True

    def run_planned(self, event: events.RunPlanned) -> None:
        """Take note of a run that there is."""
        from envoyassert.baseline.stored import run_name

        name, path = self.place_of(event.run)
        taken = self._taken.setdefault(path, _Taken(name, path))
        taken.runs.add(run_name(event.run.scenario.name, event.run.scenario.matrix))

    def run_judged(self, event: events.RunJudged) -> None:
        """Take its answer, and its story if there is one."""
        answer = event.baseline
        if answer is None:
            return
        self._answers[event.run.id] = answer
        if answer.story is None or answer.key is None:
            return
        taken = self._taken[self.place_of(event.run)[1]]
        title = taken.titles.setdefault(answer.key, event.run.title)
        before = taken.stories.get(answer.key)
        if title != event.run.title and before is not None:
            from envoyassert.baseline.story import differences

            if found := differences(before, answer.story):
                self._conflicts.add(answer.key)
                raise BaselineUpdateError(
                    f"{title} and {event.run.title} have one baseline, and differ: "
                    f"{found[0].words}",
                    "update from one of them: name one launcher",
                )
        taken.stories[answer.key] = answer.story

    def session_ended(self, event: events.SessionEnded) -> None:
        """Say how the runs stand to their baselines, or rewrite these.

        Raises:
            BaselineUpdateError: this is CI, or nothing was written.
            MachineError: a file cannot be written.
        """
        if self._collects_only:
            return
        is_whole = event.whole and event.complete and not self._refuses
        unused = self._unused(event.asked) if is_whole or self.updates else []
        if self.updates:
            if not is_whole:
                unused = [one._replace(is_sure=False) for one in unused]
            self._update(unused, complete=event.complete)
            return
        words = Counter(answer.word for answer in self._answers.values())
        if words:
            counts = ", ".join(f"{number} {word}" for word, number in words.items())
            self._console.line(f"baselines: {counts} ({self.directory})")
        for one in unused:
            if one.is_sure:
                self._console.line(f"  unused: {one} ({_UPDATE.flag} removes it)")
        self._say_unreadable()

    def _update(self, unused: list[_Unused], *, complete: bool) -> None:
        from envoyassert.baseline.stored import Stored, stored_lines
        from envoyassert.output_file import write_files

        if not complete or self._conflicts:
            why = "two runs differ" if complete else "the session did not come to its end"
            raise BaselineUpdateError(f"{self.directory} is as it was: {why}")
        changes = _Changes()
        files: dict[Path, Stored] = {}
        for taken in self._taken.values():
            stored = self._with_stories(taken, changes)
            if stored is not None:
                files[taken.path] = stored
        for one in unused:
            if not one.is_sure:
                continue
            stored = files.get(one.path) or _stored(None, one.path)
            if stored is not None:
                kept = {k: v for k, v in stored.stories.items() if k.run != one.run}
                files[one.path] = Stored(stored.scenario, kept)
        texts = {path: stored_lines(stored) for path, stored in files.items() if stored.stories}
        write_files(texts, below=self.directory)
        for path in files.keys() - texts.keys():
            path.unlink()
        for line in changes.lines(self.directory):
            self._console.line(line)
        for one in unused:
            what = "removed" if one.is_sure else "unused, and kept (not everything was run)"
            self._console.line(f"  {what}: {one}")
        self._say_unreadable()
        if self._in_ci:
            raise BaselineUpdateError(
                f"{_UPDATE.flag} in CI: what it wrote to {self.directory} was not reviewed",
                "update on a desk and commit it, or leave the option out",
            )

    def _with_stories(self, taken: _Taken, changes: _Changes) -> Stored | None:
        """Return the baselines of a scenario with those of this session, None if they are these."""
        from envoyassert.baseline.stored import Stored
        from envoyassert.baseline.story import with_alternatives

        stored = _stored(taken.name, taken.path) or Stored(taken.name)
        changed = [changes.take(stored, key, story) for key, story in taken.stories.items()]
        if not any(changed):
            return None
        stories = {
            key: with_alternatives(stored.stories.get(key, {}), story)
            for key, story in taken.stories.items()
        }
        return Stored(taken.name, {**stored.stories, **stories})

    def _unused(self, asked: tuple[str, ...]) -> list[_Unused]:
        """Return the stored runs that are none of this session, though it was to have them.

        Args:
            asked: the files and directories that it was started with.
        """
        found: list[_Unused] = []
        for path in sorted(self.directory.rglob(f"*{SUFFIX}")):
            taken = self._taken.get(path)
            try:
                stored = _stored(None, path)
            except ScenarioError as error:
                if taken is None:  # else its runs say so
                    self._unreadable.append(str(error.problems[0]))
                continue
            assert stored is not None
            scenario = (self.directory.resolve().parent / stored.scenario).resolve()
            if any(Path(one) in (scenario, *scenario.parents) for one in asked):
                runs = set() if taken is None else taken.runs
                names = dict.fromkeys(key.run for key in stored.stories)
                is_sure = any(Path(one) in scenario.parents for one in asked)
                found += [_Unused(path, name, is_sure) for name in names if name not in runs]
        return found

    def _say_unreadable(self) -> None:
        for words in self._unreadable:
            self._console.line(f"  needed by no run, and kept: {words}")


class _Changes:
    """What an update changes."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lines: list[str] = []

    def take(self, stored: Stored, key: RunKey, story: Story) -> bool:
        """Take a story, and return whether it is not the stored one."""
        from envoyassert.baseline.answer import difference_lines
        from envoyassert.baseline.story import differences

        before = stored.stories.get(key)
        found = () if before is None else differences(before, story)
        word = "new" if before is None else "changed" if found else "unchanged"
        self._counts[word] += 1
        if word != "unchanged":
            self._lines.append(f"  {word}: {key}")
            self._lines += [f"    {line}" for line in difference_lines(found, _MOST)]
        return word != "unchanged"

    def lines(self, directory: Path) -> list[str]:
        """Return what changed, in words."""
        counts = ", ".join(f"{number} {word}" for word, number in self._counts.items())
        return [f"baselines updated: {counts or 'none'} ({directory})", *self._lines]


def _stored(name: str | None, path: Path) -> Stored | None:
    """Return the baselines of a file, None if there is no file.

    Args:
        name: how it must name the scenario; None for any.
        path: the file.

    Raises:
        ScenarioError: it is not valid, or is of another scenario.
    """
    from envoyassert.baseline.stored import MOST_BYTES, parse_stored, refused
    from envoyassert.input_file import UnfitFileError, read_file

    try:
        text = read_file(path, MOST_BYTES).decode()
    except FileNotFoundError:
        return None
    except (OSError, UnfitFileError, UnicodeDecodeError) as error:
        raise refused(str(path), f"this cannot be read: {error}") from error
    stored = parse_stored(text, str(path))
    if name is not None and stored.scenario != name:
        raise refused(str(path), f"these are the baselines of {stored.scenario}, not of {name}")
    return stored
