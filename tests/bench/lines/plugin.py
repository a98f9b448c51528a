"""What the installed plugin costs other tests of a repository that has scenario files."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from tests.bench.builds import kept_bytecode
from tests.bench.configs import write_scenarios
from tests.bench.processes import run
from tests.bench.row import Row, both, ratios
from tests.bench.session import Session, alternated

LIMIT = 1.05
_TESTS = "import pytest\n\n@pytest.mark.parametrize('n', range(5))\ndef test_one(n):\n    pass\n"


def measure(session: Session, line: str, pairs: int) -> Iterator[Row]:
    """Yield `pytest tests/unit` with the plugin against without it, by processor time."""
    repository = session.directory / "repository"
    write_scenarios(repository / "scenarios", 50)
    tests = repository / "tests" / "unit"
    tests.mkdir(parents=True)
    (repository / "pytest.ini").write_text(
        "[pytest]\nenvoyassert_files = scenarios/*.yaml\n", "utf-8"
    )
    for number in range(10):
        (tests / f"test_{number}.py").write_text(_TESTS, "utf-8")
    words = (session.now.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/unit")

    def once(*more: str) -> float:
        return run([*words, *more], cwd=repository, env=kept_bytecode()).cpu_s

    without, under = alternated(pairs, partial(once, "-p", "no:envoyassert"), once)
    what = "`pytest tests/unit` beside scenario files, plugin installed: processor time"
    seen = both(without, under, "s")
    yield Row(line, what, "-p no:envoyassert", ratios(without, under), "", LIMIT, seen)
