"""GitHub Actions: annotations on the YAML lines of failures and warnings, a summary of the job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envoyassert.outputs.output import Console, Detail, Output, Settings

if TYPE_CHECKING:
    from typing_extensions import Self

    from envoyassert.outputs import events
    from envoyassert.report.github_text import Annotation, Entry

#: A plugin that annotates what fails in the call phase, from the same place and message.
_ANNOTATOR = "pytest_github_actions_annotate_failures"


class Annotations(Output):
    """Prints a command for each annotation.

    Args:
        console: where they are printed.
        workspace: the directory of the checkout, or "" if unknown.
        others_annotate: whether another plugin annotates failures of the call phase.
    """

    title = "annotations"

    def __init__(self, console: Console, workspace: str, *, others_annotate: bool) -> None:
        self._console = console
        self._workspace = workspace
        self._others_annotate = others_annotate
        self._annotations: list[Annotation] = []

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """Return it in a job of GitHub Actions."""
        if settings.environ.get("GITHUB_ACTIONS") != "true":
            return None
        workspace = settings.environ.get("GITHUB_WORKSPACE", "")
        others = settings.has_plugin(_ANNOTATOR)
        return cls(settings.console, workspace, others_annotate=others)

    def file_refused(self, event: events.FileRefused) -> None:
        """Annotate what is not valid."""
        from envoyassert.report.github_text import problem_annotations

        self._annotations += problem_annotations(event.problems, self._workspace)

    def run_planned(self, event: events.RunPlanned) -> None:
        """Annotate what is likely not meant, once for all runs of a scenario."""
        from envoyassert.report.github_text import problem_annotations

        found = problem_annotations(event.doubts, self._workspace, "warning")
        self._annotations += [one for one in found if one not in self._annotations]

    def run_ended(self, event: events.RunEnded) -> None:
        """Annotate what went wrong in a run."""
        from envoyassert.report.github_text import Annotation, in_repository

        for failure in event.failures:
            if event.record is not None and not (self._others_annotate and failure.phase == "call"):
                path = in_repository(failure.path, self._workspace)
                title = f"{failure.status} {event.title}"
                self._annotations.append(Annotation(path, failure.line, title, failure.text))

    def session_ended(self, event: events.SessionEnded) -> None:
        """Print them."""
        from envoyassert.report.github_text import workflow_command

        for annotation in self._annotations:
            self._console.command(workflow_command(annotation))


class JobSummary(Output):
    """Appends to the summary of the job.

    Args:
        path: its file.
        workspace: the directory of the checkout, or "" if unknown.
    """

    title = "the summary of the job"
    wants = frozenset({Detail.MAP})

    def __init__(self, path: str, workspace: str) -> None:
        self._path = path
        self._workspace = workspace
        self._entries: list[Entry] = []
        self._whole: dict[str, bool] = {}
        self._maps: dict[str, str] = {}

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """Return it where GitHub names the file."""
        path = settings.environ.get("GITHUB_STEP_SUMMARY", "")
        return cls(path, settings.environ.get("GITHUB_WORKSPACE", "")) if path else None

    def file_refused(self, event: events.FileRefused) -> None:
        """Take note of what is not valid."""
        from envoyassert.report.github_text import Entry, problem_annotations

        for found in problem_annotations(event.problems, self._workspace):
            place = f"{found.path}:{found.line}"
            entry = Entry("ERROR", found.title, place, found.message, event.message)
            self._entries.append(entry)

    def run_judged(self, event: events.RunJudged) -> None:
        """Take note of a certificate, and of a map."""
        self._whole[event.run.id] = event.whole
        self._maps[event.run.id] = event.map

    def run_ended(self, event: events.RunEnded) -> None:
        """Take note of what went wrong in a run."""
        from envoyassert.report.github_text import Entry, in_repository

        for failure in event.failures if event.record is not None else ():
            place = f"{in_repository(failure.path, self._workspace)}:{failure.line}"
            drawn = self._maps.pop(event.id, "")
            self._entries.append(
                Entry(failure.status, event.title, place, failure.reason, failure.text, drawn)
            )

    def session_ended(self, event: events.SessionEnded) -> None:
        """Write it; other steps of the job may have written to it before."""
        from envoyassert.output_file import append_text
        from envoyassert.report.certificate import certificates_lines
        from envoyassert.report.github_text import job_summary
        from envoyassert.report.summary import summary_lines

        if not (event.records or self._entries):
            return
        lines = [
            *summary_lines(event.records.values()),
            *certificates_lines(self._whole.values()),
        ]
        append_text(job_summary(lines, self._entries), self._path)
