"""What no change of envoyassert makes faster: the interpreter, pytest and Envoy by themselves."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from tests.bench import starts
from tests.bench.builds import kept_bytecode
from tests.bench.configs import ECHO
from tests.bench.processes import Usage, run
from tests.bench.row import Row, figure
from tests.bench.session import Session
from tests.bench.starts import Envoy


def measure(session: Session, line: str, pairs: int) -> Iterator[Row]:
    """Yield the time that each of them takes alone."""
    (session.directory / "test_nothing.py").write_text("def test_nothing():\n    pass\n", "utf-8")
    python = session.now.python
    pytest = (*("-m", "pytest", "-q", "-p", "no:envoyassert"), "test_nothing.py")
    for what, words in (
        ("`python -c pass`", ("-c", "pass")),
        ("pytest of one empty test, without the plugin", pytest),
    ):

        def once(words: tuple[str, ...] = words) -> Usage:
            return run([python, *words], cwd=session.directory, env=kept_bytecode())

        once()
        usages = [once() for _ in range(pairs)]
        cpu_s = statistics.median(usage.cpu_s for usage in usages)
        peak_mib = max(usage.peak_mib for usage in usages)
        seen = f"processor time {figure(cpu_s, 's')}, {figure(peak_mib, 'MiB')}"
        walls = tuple(usage.wall_s for usage in usages)
        yield Row(line, f"{what}: wall", "", walls, "s", None, seen)
    envoy = Envoy(1, 2, ECHO)
    starts.untraced(envoy)
    times = tuple(starts.untraced(envoy) for _ in range(pairs))
    yield Row(line, "start of Envoy, 1 listener × 2 workers, untraced", "", times, "s")
