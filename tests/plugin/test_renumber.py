"""`envoyassert run --update`: numbers that failed are rewritten, and nothing else."""

from __future__ import annotations

import io
import sys

import pytest

from envoyassert.cli.renumber import Renumbering


@pytest.fixture
def update(fake_envoy):
    """Run `envoyassert run --update`; return the result."""

    def update(*arguments):
        words = ("envoyassert", "run", "--update", *arguments)
        return fake_envoy.run(sys.executable, "-m", *words)

    return update


@pytest.fixture
def scenario(write_scenario, fake_envoy):
    """Write a scenario with other expectations; return its path."""

    def write(expect: str, **how):
        path = fake_envoy.path / write_scenario(**how)
        head = path.read_text().partition("expect:")[0]
        path.write_bytes(f"{head}expect:\n{expect}".encode())
        return path

    return write


COUNT = """\
  # Every byte stays, this comment too.
  - listener: { port:  15006 }
    bound:  {times: 3,   by: main}    # three
    backlog: 7
"""


def test_numbers_are_rewritten_where_they_stand(scenario, update):
    path = scenario(COUNT)
    before = path.read_bytes()
    result = update("--yes")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "-    bound:  {times: 3,   by: main}    # three",
            "-    backlog: 7",
            "+    bound:  {times: 1,   by: main}    # three",
            "+    backlog: -1",
            "written: *",
        ]
    )
    expected = before.replace(b"times: 3", b"times: 1").replace(b"backlog: 7", b"backlog: -1")
    assert path.read_bytes() == expected


def test_nothing_is_written_without_a_terminal_or_yes(scenario, update):
    path = scenario(COUNT)
    before = path.read_bytes()
    result = update()
    assert result.ret == 1
    result.stdout.fnmatch_lines(["+    backlog: -1", "nothing was written: --yes writes it"])
    assert path.read_bytes() == before


@pytest.mark.parametrize("answer", ["y", "n"])
def test_on_a_terminal_there_is_a_question(answer, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("sys.stdin", Terminal(f"{answer}\n"))
    shown = Terminal()
    monkeypatch.setattr("sys.stdout", shown)
    assert Renumbering(yes=False)._is_wanted(1) is (answer == "y")
    assert "write this file? [y/N]" in shown.getvalue()


def test_what_is_no_number_is_left_and_the_run_stays_failed(scenario, update):
    path = scenario(COUNT.replace("by: main", "by: workers"))
    result = update("--yes")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*one: expect.0.bound.by is not met, and no number of it"])
    assert b"by: workers" in path.read_bytes()


def test_a_number_must_fit_every_run(scenario, update):
    how = {"fake": "reuse_port", "head": "matrix: {concurrency: [2, 4]}"}
    path = scenario("  - {listener: {port: 15006}, bound: {times: 1}}\n", **how)
    assert update("--yes", "-p", "xdist", "-n2").ret == 0
    assert b"bound: {times: workers}" in path.read_bytes()
    path = scenario("  - {listener: {port: 15006}, bound: {times: 2}}\n", **how)
    before = path.read_bytes()
    result = update("--yes")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*expect.0.bound.times: no one number fits every run (*: 4)"])
    assert path.read_bytes() == before


def test_a_run_that_proves_nothing_leaves_the_scenario_alone(scenario, update):
    path = scenario(COUNT, fake="lossy")
    before = path.read_bytes()
    result = update("--yes")
    assert result.ret in (1, 10)
    result.stdout.fnmatch_lines(["*is left as it is: *INCONCLUSIVE"])
    assert path.read_bytes() == before


def test_an_alias_is_not_rewritten_for_all_that_use_it(scenario, update):
    path = scenario(
        "  - {listener: {port: 15006}, bound: {times: &n 1}}\n"
        "  - {listener: {port: 15006}, backlog: *n}\n"
    )
    before = path.read_bytes()
    result = update("--yes")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*expect.1.backlog: no one number fits*"])
    assert path.read_bytes() == before


@pytest.mark.parametrize("ends", ["\r\n", "\n"])
def test_ends_of_lines_and_a_mark_stay(scenario, update, ends):
    path = scenario(COUNT)
    text = "\ufeff" + path.read_text().replace("\n", ends).rstrip()
    path.write_bytes(text.encode())
    assert update("--yes").ret == 0
    expected = text.replace("times: 3", "times: 1").replace("backlog: 7", "backlog: -1")
    assert path.read_bytes() == expected.encode()


def test_nothing_is_rewritten_in_ci(scenario, update, monkeypatch):
    path = scenario(COUNT)
    before = path.read_bytes()
    monkeypatch.setenv("CI", "true")
    result = update("--yes")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*--update rewrites scenarios, and is for a desk: CI is set*"])
    assert path.read_bytes() == before


def test_values_of_options_are_numbers_too(scenario, update):
    path = scenario(
        "  - {listener: {port: 15006}, options: {SO_REUSEPORT: {value: 0x2, phase: before_bind}}}\n"
        "  - {listener: {port: 15006}, options: {SO_REUSEPORT: 3}}\n",
        fake="reuse_port",
    )
    assert update("--yes").ret == 0
    assert b"{value: 1, phase: before_bind}" in path.read_bytes()
    assert b"{SO_REUSEPORT: 1}" in path.read_bytes()


def test_a_scenario_that_is_met_stays(scenario, update):
    path = scenario("  - {listener: {port: 15006}, bound: {times: 1}}\n")
    before = path.read_bytes()
    assert update("--yes").ret == 0
    assert path.read_bytes() == before


def test_a_run_that_was_not_reached_is_not_green(scenario, write_scenario, update, fake_envoy):
    """`-x` ends the session at the first failure; the exit code was 0 if that was rewritten."""
    scenario(COUNT)
    write_scenario(name="other", fake="crash")
    result = update("--yes", "-x", "one.envoyassert.yaml", "other.envoyassert.yaml")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["written: *one.envoyassert.yaml"])


@pytest.mark.parametrize("other", ["crash", "known", "baseline"])
def test_a_file_that_is_rewritten_makes_no_other_run_green(
    other, scenario, write_scenario, update, fake_envoy
):
    """The exit code was 0, though another run had an error, or failed by what is no number."""
    scenario(COUNT)
    more: tuple[str, ...] = ()
    if other == "crash":
        write_scenario(name="other", fake="crash")
    elif other == "known":
        path = fake_envoy.path / write_scenario(name="other")
        defect = "  - known_defect: {versions: '>=1.0', owner: me, upstream: unreported}\n    "
        path.write_text(path.read_text().replace("  - listener", f"{defect}listener"))
    else:
        write_scenario(name="other")
        more = ("--baseline", "baselines")
    result = update("--yes", *more)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["written: *one.envoyassert.yaml"])
