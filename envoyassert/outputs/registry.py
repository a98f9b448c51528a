"""The outputs that there are, in the order in which each of them gets an event.

One without which a session is not green comes before those that print how a run went.
"""

from __future__ import annotations

from collections.abc import Iterator

from envoyassert.outputs.baselines import Baselines
from envoyassert.outputs.counts import Counts
from envoyassert.outputs.doubts import Doubts
from envoyassert.outputs.github import Annotations, JobSummary
from envoyassert.outputs.header import Header
from envoyassert.outputs.html_report import HTMLReport
from envoyassert.outputs.json_report import JSONReport
from envoyassert.outputs.junit_properties import JUnitProperties
from envoyassert.outputs.markdown import Markdown
from envoyassert.outputs.output import Option, Output
from envoyassert.outputs.progress import Progress
from envoyassert.outputs.story import Story

OUTPUTS: tuple[type[Output], ...] = (
    Header,
    JUnitProperties,
    Annotations,
    Doubts,
    Counts,
    Baselines,
    JobSummary,
    JSONReport,
    HTMLReport,
    Markdown,
    Progress,
    Story,
)


def output_options() -> Iterator[Option]:
    """Yield the options of all outputs."""
    for output in OUTPUTS:
        yield from output.options
