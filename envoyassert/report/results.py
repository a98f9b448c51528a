"""The results of a session for machines: a document for each run, and an index of them.

The classes are the published format. Run as a module, this writes their schema into the package:

    python -m envoyassert.report.results
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema

from envoyassert.baseline.answer import AnswerWord
from envoyassert.errors import EnvoyAssertError
from envoyassert.input_file import UnfitFileError, read_file
from envoyassert.report.figures import Figures
from envoyassert.report.parts import (
    AskedPart,
    DocumentPart,
    EnvoyPart,
    MachinePart,
    ScenarioPart,
    StatusWord,
)
from envoyassert.report.summary import EXECUTED, RunRecord, summary_lines
from envoyassert.report.verdict_json import Judgement, VerdictDocument

#: The generated file.
SCHEMA_FILE = Path(__file__).parent.parent / "schema" / "results.schema.json"

INDEX = "index.json"
#: Directory of the runs in a report.
RUNS = "runs"
#: Name of a run's document in its own directory.
DOCUMENT = "run.json"
_NOT_IN_NAMES = re.compile(r"[^\w.,=@-]+")
#: Larger files are no documents of results.
MOST_BYTES = 256 << 20
#: Bytes of a name that stay legible; the names of files end at 255.
_LONGEST = 80

OutcomeWord = Literal[
    "passed", "failed", "known_defect", "xfailed", "inconclusive", "skipped", "error"
]

_OUTCOME = Field(
    description="passed, failed, known_defect and inconclusive as the verdict says; xfailed: as "
    "an xfail mark expects; skipped: not run; error: not judged, or failed around the verdict."
)


class FactDifference(DocumentPart):
    """One fact that is not as in the baseline."""

    phase: str = Field(description="The phase that shows it first; empty for the start-up.")
    subject: str = Field(description="`0.0.0.0:80 (ingress)`, or `the run`.")
    aspect: str = Field(description="`bind`, `option SO_REUSEPORT`; `listener` for a whole one.")
    before: str = Field(description="What the baseline has.")
    after: str = Field(description="What was seen.")


class BaselinePart(DocumentPart):
    """What came of holding a run against its baseline."""

    answer: AnswerWord = Field(
        description="missing: there is none; unknown: the run proves neither; taken: an update "
        "stores what was seen."
    )
    file: str = Field(description="The file of baselines.")
    reason: str = Field(description="Why it is not `same`, in one line; may be empty.")
    differences: tuple[FactDifference, ...]


class Attempt(DocumentPart):
    """One time that the run was executed and judged."""

    status: StatusWord
    reason: str = Field(description="Why it is not PASS, in one line; may be empty.")
    trace: str | None = Field(description="Its saved trace, relative to this document.")
    log: str | None = Field(description="Envoy's log, relative to this document.")
    page: str | None = Field(None, description="Its page, relative to this document.")


class RunDocument(DocumentPart):
    """One run of one scenario, whether it was executed or not."""

    format: Literal["envoyassert-run/2"] = "envoyassert-run/2"
    id: str = Field(description="pytest's name of it: `scenarios/udp.yaml::udp[concurrency=2]`.")
    run: str = Field(description="`udp[concurrency=2]`.")
    scenario: ScenarioPart
    outcome: OutcomeWord = _OUTCOME
    reason: str = Field(description="Why the outcome is not `passed`, in one line.")
    defect: str = Field(
        description="The known defect that explains it, as the scenario states it; may be empty."
    )
    seen: str = Field("", description="What was seen of that defect, in one line; may be empty.")
    started: str = Field(description="When, UTC, ISO 8601.")
    duration_s: float = Field(description="Seconds for everything, fixtures included.")
    asked: AskedPart
    envoy: EnvoyPart | None = Field(description="null if none was started.")
    machine: MachinePart
    verdict: Judgement | None = Field(description="Of the last attempt; null if there is none.")
    figures: Figures | None = Field(description="Of the last attempt.")
    baseline: BaselinePart | None = Field(
        None, description="Of the last attempt; null if the session has no baselines."
    )
    attempts: tuple[Attempt, ...] = Field(
        description="Each time that it was executed and judged; several if it was repeated."
    )


class IndexCounts(DocumentPart):
    """How many runs there were of which outcome."""

    executed: int = Field(description="Runs that reached a verdict.")
    passed: int
    failed: int
    known_defect: int = Field(description="Runs that fail as their scenario says they must.")
    xfailed: int
    inconclusive: int
    skipped: int
    error: int
    repeated: int = Field(description="Runs that were executed more than once.")


class IndexEntry(DocumentPart):
    """One run in the index."""

    id: str
    run: str
    outcome: OutcomeWord = _OUTCOME
    reason: str
    envoy: str = Field(description="Version or source.")
    launcher: str
    concurrency: str
    attempts: tuple[str, ...] = Field(description="Verdict of each attempt.")
    document: str | None = Field(
        description="The run's document, relative to the index; null if its process died."
    )


class Fault(DocumentPart):
    """A file that could not be collected."""

    id: str = Field(description="pytest's name of the file.")
    message: str = Field(description="All of what is wrong, with places.")


class ShardPart(DocumentPart):
    """Which part of the runs a session had (`--shard`)."""

    number: int = Field(ge=1, description="Which part, from 1.")
    of: int = Field(ge=1, description="Of how many.")
    division: str = Field(
        description="What was divided, and how: the same for all parts that make one whole. Empty "
        "until the session has ended."
    )


class IndexDocument(DocumentPart):
    """What a session did."""

    format: Literal["envoyassert-index/1"] = "envoyassert-index/1"
    complete: bool = Field(
        description="false: the session has not ended, was interrupted, or was killed; of a merged "
        "report: one of them, or a part is missing."
    )
    stopped: str = Field(description="Why not every run was reached (`-x`, Ctrl-C), or empty.")
    started: str = Field(description="When, UTC, ISO 8601.")
    machine: MachinePart
    shard: ShardPart | None = Field(None, description="null if it was to have all runs.")
    nothing_ran: bool = Field(
        False, description="Every test was skipped for what the machine lacks."
    )
    machine_errors: int = Field(0, description="Tests that ended in an error of the machine.")
    scenario_errors: int = Field(0, description="Tests that ended in an error of the scenario.")
    counts: IndexCounts
    summary: tuple[str, ...] = Field(description="The lines that are printed at the end.")
    runs: tuple[IndexEntry, ...] = Field(description="In the order in which they ended.")
    faults: tuple[Fault, ...] = Field(description="Files that could not be collected.")


def run_directory(run_id: str, title: str) -> str:
    """Return the directory of a run in a report, relative to the report.

    Args:
        run_id: pytest's name of the run; the same in each process and each session.
        title: the part of it behind the file.

    Returns:
        `runs/udp-concurrency=2-1f0c5a3e9d20`: legible, short, and never another run's.
    """
    return f"{RUNS}/{with_digest(title, run_id)}"


def is_short_and_plain(name: str) -> bool:
    """Return whether a name can be that of a file as it is."""
    plain = name and not name.startswith(".") and not _NOT_IN_NAMES.search(name)
    return bool(plain) and len(name.encode()) <= _LONGEST


def with_digest(name: str, whole: str) -> str:
    """Return what of a name is legible, with a digest of the whole that it stands for."""
    digest = hashlib.sha256(whole.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    legible = _NOT_IN_NAMES.sub("-", name).strip("-.")
    return f"{legible.encode()[:_LONGEST].decode(errors='ignore')}-{digest}"


def counts_of(records: Iterable[RunRecord]) -> IndexCounts:
    """Return how many runs there were of which outcome."""
    records = list(records)
    outcomes = Counter(record.outcome for record in records)
    words = ("passed", "failed", "known_defect", "xfailed", "inconclusive", "skipped", "error")
    return IndexCounts(
        executed=sum(outcomes[outcome] for outcome in EXECUTED),
        repeated=sum(record.repeated for record in records),
        **{word: outcomes[word] for word in words},
    )


def index_document(
    records: Mapping[str, RunRecord],
    documents: Mapping[str, str],
    faults: Mapping[str, str],
    *,
    machine: MachinePart,
    started: str,
    complete: bool,
    stopped: str = "",
    shard: ShardPart | None = None,
    nothing_ran: bool = False,
    machine_errors: int = 0,
    scenario_errors: int = 0,
) -> IndexDocument:
    """Return the index of a session.

    Args:
        records: the runs, by pytest's name of them, in order.
        documents: path of each run's document relative to the index, as far as there is one.
        faults: message for each file that could not be collected.
        machine: where it ran.
        started: when, UTC, ISO 8601.
        complete: whether the session ended by itself.
        stopped: why not every run was reached, or "".
        shard: which part of the runs it has; None for all.
        nothing_ran: whether every test was skipped for what the machine lacks.
        machine_errors: how many tests ended in an error of the machine.
        scenario_errors: how many ended in an error of their scenario.
    """
    return IndexDocument(
        complete=complete,
        stopped=stopped,
        started=started,
        machine=machine,
        shard=shard,
        nothing_ran=nothing_ran,
        machine_errors=machine_errors,
        scenario_errors=scenario_errors,
        counts=counts_of(records.values()),
        summary=tuple(summary_lines(records.values())),
        runs=tuple(
            IndexEntry(
                id=name,
                run=record.scenario,
                outcome=record.outcome,
                reason=record.reason,
                envoy=record.envoy,
                launcher=record.launcher,
                concurrency=record.concurrency,
                attempts=record.verdicts,
                document=documents.get(name),
            )
            for name, record in records.items()
        ),
        faults=tuple(Fault(id=name, message=message) for name, message in faults.items()),
    )


class ResultsError(EnvoyAssertError):
    """Results cannot be read."""


_Document = TypeVar("_Document", RunDocument, IndexDocument)


def read_document(kind: type[_Document], path: Path) -> _Document:
    """Return a document of the results.

    Args:
        kind: which one is expected.
        path: its file.

    Raises:
        ResultsError: it cannot be read, or is none.
    """
    try:
        return kind.model_validate_json(read_file(path, MOST_BYTES))
    except OSError as error:
        reason = error.strerror
    except UnfitFileError as error:
        reason = str(error)
    except ValidationError:
        reason = "it is of another version"
    raise ResultsError(f"{path} cannot be read: {reason}")


class _WithoutTitles(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: object) -> bool:
        return False


def results_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of every document that is written for machines."""
    documents: TypeAdapter[object] = TypeAdapter(
        Annotated[RunDocument | IndexDocument | VerdictDocument, Field(discriminator="format")]
    )
    schema = documents.json_schema(mode="serialization", schema_generator=_WithoutTitles)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "envoyassert results",
        **schema,
    }


def schema_text() -> str:
    """Return the schema as the text of its file."""
    return json.dumps(results_schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA_FILE.write_text(schema_text(), encoding="utf-8")
