"""The bench's own figures, table, choice of lines and page; and one cheap line, measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.bench import builds, profile, session, table
from tests.bench.__main__ import main
from tests.bench.builds import Build, BuildError, build_of, commit_of
from tests.bench.lines import whole
from tests.bench.lines.line import Line, pairs
from tests.bench.lines.registry import LINES, ChoiceError, chosen
from tests.bench.machine import Machine, this_machine
from tests.bench.page import PageError, with_part
from tests.bench.peers import with_stacks
from tests.bench.processes import CommandError, run
from tests.bench.profile import Profile
from tests.bench.row import Row, both, figure, in_turn, ratios
from tests.bench.session import Session, alternated

MACHINE = Machine(
    kernel="6.18 (x86_64)",
    processor="Processor",
    cpus=2,
    memory_gib=24.0,
    python="3.11.7",
    bcc="0.26.0",
    envoy="1.40.0",
    strace="6.1",
    bpftrace="",
    commit="1234567",
    load=0.2,
)
PAGE = "Above.\n\n<!-- results -->\nold\n<!-- end of results -->\n\nBelow.\n"


def _git(repository: Path, *words: str) -> None:
    identity = ["-c", "user.name=Someone", "-c", "user.email=someone@example.org"]
    subprocess.run(["git", *identity, *words], cwd=repository, check=True, capture_output=True)


def test_sides_of_a_pair_are_measured_in_turn():
    assert list(in_turn(4)) == [(0, 1), (1, 0), (0, 1), (1, 0)]


def test_alternated_warms_both_sides_and_pairs_their_figures():
    called = []

    def side(name):
        def measure():
            called.append(name)
            return f"{name}{called.count(name)}"

        return measure

    assert alternated(3, side("a"), side("b")) == (["a2", "a3", "a4"], ["b2", "b3", "b4"])
    assert "".join(called) == "ab" + "abbaab"
    called.clear()
    assert alternated(1, side("a"), side("b"), warm=False) == (["a1"], ["b1"])


def test_ratios_are_of_pairs_and_need_as_many_of_each():
    assert ratios([2.0, 4.0], [1.0, 1.0]) == (0.5, 0.25)
    with pytest.raises(ValueError, match="shorter"):
        ratios([2.0, 4.0], [1.0])


@pytest.mark.parametrize(
    "values, limit, state",
    [
        ((0.3, 0.4, 0.2), 0.3, "met"),
        ((0.3, 0.4, 0.31), 0.3, "not met"),
        ((0.0,), 0, "met"),
        ((1.0,), 0, "not met"),
        ((0.3,), None, "info"),
        ((), 0.3, "error"),
    ],
)
def test_median_is_held_against_the_target(values, limit, state):
    assert Row("run", "wall", values=values, limit=limit).state == state


def test_error_is_no_figure_even_where_there_are_some():
    assert Row("run", "wall", values=(0.1,), limit=0.3, error="it failed").state == "error"


def test_quartiles_show_the_spread_of_more_than_one_value():
    assert Row("run", "wall", values=(1.0, 2.0, 3.0, 4.0, 9.0)).quartiles == (2.0, 4.0)
    assert Row("run", "wall", values=(1.0,)).quartiles is None


@pytest.mark.parametrize(
    "value, unit, text",
    [
        (0.3333, "", "0.333"),
        (1.0456, "", "1.05"),
        (12.34, "s", "12.3 s"),
        (352.4, "MiB", "352 MiB"),
        (0.0004, "s", "400 µs"),
        (135e-9, "s", "135 ns"),
        (-0.01, "s", "-0.010 s"),
        (0.0, "", "0"),
        (2.0, "s", "2 s"),
    ],
)
def test_figure_has_three_digits_and_a_unit_that_fits(value, unit, text):
    assert figure(value, unit) == text


def test_medians_behind_a_ratio_are_shown():
    assert both([3.0, 4.0, 3.5], [1.0, 1.1, 0.9], "s") == "3.50 s to 1 s"


def test_table_has_target_spread_and_state_of_each_row():
    rows = [
        Row("run", "`run`: wall", "b18f4f6", (0.3, 0.32, 0.31), "", 0.33, "3.6 s to 1.1 s"),
        Row("run", "peak memory", "", (130.0,), "MiB", 120.0),
        Row("start", "under strace", "untraced", (2.5,)),
        Row("probe", "load the probe", error="CommandError: no a|b"),
    ]
    text = list(table.text_lines(rows))
    assert len({line.index("met") for line in text[1:3]}) == 2
    assert text[1].split("  ")[0] == "`run`: wall"
    found = list(table.markdown_lines(rows))
    assert found[2:] == [
        "| `run`: wall | b18f4f6 | 3 | 0.310 | 0.305 to 0.315 | ≤ 0.330 | met | 3.6 s to 1.1 s |",
        "| peak memory |  | 1 | 130 MiB |  | ≤ 120 MiB | not met |  |",
        "| under strace | untraced | 1 | 2.50 |  |  |  |  |",
        r"| load the probe |  |  |  |  |  | error | CommandError: no a\|b |",
    ]
    assert table.summary(rows) == "1 of 3 targets met, 1 not met, 1 error"


def test_document_is_read_back():
    rows = [Row("run", "wall", "b18f4f6", (0.3, 0.4), "", 0.33, "seen"), Row("x", "y", error="z")]
    text = json.dumps(table.document(rows, MACHINE, "b18f4f6"))
    assert table.rows_of(json.loads(text)) == rows


def test_lines_are_chosen_by_name_or_pattern_in_the_order_of_the_table():
    def named(*patterns):
        return [line.name for line in chosen(patterns)]

    assert named("probe-unload", "run") == ["run", "probe-unload"]
    assert named("probe-*") == ["probe-load", "probe-unload"]
    assert "make-test" not in named()
    assert named("make-test") == ["make-test"]
    with pytest.raises(ChoiceError, match=r"no line is called probes; there are: run, "):
        named("run", "probes")


def test_each_line_has_a_name_of_its_own():
    assert len({line.name for line in LINES}) == len(LINES)


def test_machine_that_is_busy_is_said():
    assert MACHINE.is_quiet
    assert MACHINE.warning == ""
    assert "not quiet (load average 3.00 on 2 processors)" in _busy().warning
    assert "bpftrace not installed" in "\n".join(MACHINE.lines())


def _busy() -> Machine:
    return Machine(**{**vars(MACHINE), "load": 3.0})


def test_commit_is_marked_where_what_is_measured_differs_from_it(tmp_path):
    git = partial(_git, tmp_path)
    for name in ("docs/performance.md", "envoyassert/one.py"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("")
    git("init")
    git("add", ".")
    git("commit", "--message=First")
    (tmp_path / "docs/performance.md").write_text("written by the bench")
    commit = this_machine(tmp_path).commit
    assert len(commit) == 7
    (tmp_path / "envoyassert/one.py").write_text("another = 1")
    assert this_machine(tmp_path).commit == f"{commit}+"


def test_part_of_a_page_is_replaced_between_its_markers():
    assert with_part(PAGE, "results", ["new", "er"]) == PAGE.replace("old\n", "\nnew\ner\n\n")


@pytest.mark.parametrize("text", ["", PAGE.replace("end of", "end"), PAGE + PAGE])
def test_page_without_the_markers_once_is_refused(text):
    with pytest.raises(PageError, match="each once"):
        with_part(text, "results", [])


def test_stacks_are_asked_for_where_a_call_is_printed():
    printed = '  printf("call",\n    $value, $at & 7, $size);\n'
    assert with_stacks(printed).endswith("$size);\n        print(ustack);\n")
    with pytest.raises(CommandError, match="in another way"):
        with_stacks("printf(x)")


def test_command_is_measured_with_its_children(tmp_path):
    busy = "import time\nwhile time.process_time() < 0.3: pass\ndata = b'.' * (300 << 20)"
    code = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {busy!r}])\nprint('ok')"
    usage = run([sys.executable, "-c", code], cwd=tmp_path, add_up=True)
    assert usage.output == "ok\n"
    assert usage.cpu_s >= 0.3
    assert 300 <= usage.peak_mib < 350
    assert usage.together_mib > 0


def test_command_that_fails_says_its_last_lines(tmp_path):
    with pytest.raises(CommandError, match=r"ended with 3: said so"):
        run([sys.executable, "-c", "print('said so'); raise SystemExit(3)"], cwd=tmp_path)


def test_command_that_hangs_is_ended_with_its_children(tmp_path):
    code = "import subprocess; subprocess.run(['sleep', '600'])"
    with pytest.raises(CommandError, match=r"took more than 0\.5 s"):
        run([sys.executable, "-c", code], cwd=tmp_path, deadline_s=0.5)


def test_commit_that_is_not_there_is_named():
    with pytest.raises(BuildError, match=r"^nowhere: "):
        commit_of("nowhere")


@pytest.mark.parametrize(
    "imported, frames, stage",
    [
        ("_pytest.config", ["envoyassert.cli:main", "import"], "import of pytest and its plugins"),
        ("yaml", ["envoyassert.cli:main", "import"], "import of libraries"),
        ("envoyassert.runner", ["envoyassert.cli:main", "import"], "import of envoyassert"),
        (
            "envoyassert.words.bound",
            ["envoyassert.cli:main", "import", "pydantic._internal._model_construction:new"],
            "models of scenarios and results (pydantic)",
        ),
        (
            "",
            ["envoyassert.scenario.load:parse", "pydantic._internal._generate_schema:build"],
            "models of scenarios and results (pydantic)",
        ),
        ("", ["envoyassert.cli:main", "pluggy:call"], "command, pytest and plugin"),
        ("", ["runpy:run", "_pytest.main:main"], "command, pytest and plugin"),
        (
            "",
            ["envoyassert.runner:run", "envoyassert.probe.live:load", "bcc:load"],
            "probe: load, attach and read",
        ),
        (
            "",
            ["envoyassert.probe.live:close", "envoyassert.probe.loading:end", "bcc:cleanup"],
            "probe: detach and unload",
        ),
        ("", ["envoyassert.runner:run", "envoyassert.graph.fold:fold"], "decode and fold"),
        ("", ["envoyassert.runner:run", "envoyassert.clock:now"], "other of envoyassert"),
    ],
)
def test_stack_belongs_to_a_stage(imported, frames, stage):
    assert profile.stage_of(imported, frames) == stage


def test_profile_has_medians_of_stages_and_adds_up_the_small_ones():
    before = [Profile(3.0, {"probe": 1.0, "a": 0.004, "b": 0.003}), Profile(4.0, {"probe": 1.2})]
    now = [Profile(1.0, {"probe": 0.1, "judge": 0.02})]
    assert list(profile.table_lines(before, now, ("b18f4f6", "now"))) == [
        "| ms of one run | b18f4f6 | now |",
        "| --- | ---: | ---: |",
        "| probe | 1100 | 100 |",
        "| judge | 0 | 20 |",
        "| stages below 10 ms each | 4 | 0 |",
        "| the whole run | 3500 | 1000 |",
    ]


def test_main_thread_is_looked_at_until_the_command_ends(tmp_path):
    """A command that ends when it was seen, in an import and after it: none is too quick for it."""
    path = tmp_path / "profile.json"
    (tmp_path / "envoyassert_seen.py").write_text(
        "import __main__\n"
        "def wait(imported, frame):\n"
        "    while not any(i == imported and frame in s for i, s in __main__.seconds.copy()):\n"
        "        pass\n"
        "wait('envoyassert_seen', 'envoyassert_seen:<module>')\n"
        "def main():\n"
        "    wait('', 'envoyassert_seen:main')\n"
    )
    metadata = tmp_path / "envoyassert-0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Name: envoyassert\n")
    (metadata / "entry_points.txt").write_text(
        "[console_scripts]\nenvoyassert = envoyassert_seen:main\n"
    )
    words = [sys.executable, str(profile.SAMPLED), str(path)]
    usage = run(words, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)})
    document = json.loads(path.read_text())
    assert sum(seconds for seconds, *_ in document["stacks"]) <= document["took_s"] < usage.wall_s
    assert {"", "envoyassert_seen"} <= {imported for _, imported, _ in document["stacks"]}


def test_commit_is_set_up_once_and_kept(monkeypatch, tmp_path):
    repository = tmp_path / "repository"
    git = partial(_git, repository)
    script = repository / "setup" / "create-venv.sh"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\nmkdir -p .venv/bin && echo made >>.venv/made\n")
    script.chmod(0o755)
    git("init", "--initial-branch=main")
    git("add", ".")
    git("commit", "--message=First")
    script.write_text("#!/bin/sh\nexit 9\n")
    git("commit", "--all", "--message=Second")
    monkeypatch.setattr(builds, "ROOT", repository)
    monkeypatch.setenv("ENVOYASSERT_CACHE", str(tmp_path / "cache"))
    build = build_of("HEAD~1")
    assert build.root.parent == tmp_path / "cache" / "bench"
    assert (build.root / ".venv" / "made").read_text() == "made\n"
    (build.root / "kept").touch()
    assert build_of("HEAD~1") == build
    assert (build.root / "kept").exists()
    with pytest.raises(BuildError, match=r"HEAD: its environment cannot be made: .* ended with 9"):
        build_of("HEAD")


def test_measured_make_hears_nothing_of_what_was_said_to_the_one_above(tmp_path):
    (tmp_path / "Makefile").write_text(
        "ARGS ?= none\nabove: ; @$(MEASURE)\nbelow: ; @echo $(ARGS) $(MAKELEVEL) $(MAKEFLAGS)\n"
    )
    measure = (
        "from pathlib import Path; from tests.bench.processes import run;"
        "print(run(['make', 'below'], cwd=Path()).output)"
    )
    above = subprocess.run(
        ["make", "-C", tmp_path, "--no-print-directory", "above", "ARGS=--only one"],
        env={
            **os.environ,
            "MEASURE": f'{sys.executable} -c "{measure}"',
            "PYTHONPATH": str(builds.ROOT),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert above.stdout.split() == ["none", "0"]


def test_first_verdict_of_a_fresh_clone_is_timed(tmp_path):
    repository, directory = tmp_path / "repository", tmp_path / "measured"
    repository.mkdir()
    directory.mkdir()
    makefile = repository / "Makefile"
    made = """
run:
\t@echo '   0.1 s  PASS  one'; test -S "$${DOCKER_HOST#unix://}" || sleep 0.3
\t@echo "$$ENVOYASSERT_CACHE" >../seen
"""
    makefile.write_text(made)
    for words in (["init"], ["add", "."], ["commit", "--message=First"]):
        _git(repository, *words)
    build = Build("either", repository)
    session = Session("b18f4f6", directory, build, _before=build)
    first, end = whole.measure_run(session, "fresh-run", 1)
    assert 0 < first.median < end.median - 0.25
    assert (directory / "fresh" / "seen").read_text() == f"{directory}/fresh/envoys\n"
    makefile.write_text("run:\n\t@echo nothing\n")
    _git(repository, "commit", "--all", "--message=Second")
    with pytest.raises(CommandError, match="make run ended with 0: nothing"):
        list(whole.measure_run(session, "fresh-run", 1))


def _good(session: Session, line: str, count: int) -> Iterator[Row]:
    yield Row(line, "good", values=(0.1,) * count, limit=0.2)


def _bad(session: Session, line: str, count: int) -> Iterator[Row]:
    yield Row(line, "before it failed", values=(0.1,), limit=0.2)
    raise CommandError("broken\nin two lines")


def test_line_that_fails_is_shown_and_the_others_go_on(capsys, tmp_path):
    results = tmp_path / "results.json"
    lines = [
        Line("bad", "what fails", _bad, pairs(1, 2, 3)),
        Line("good", "what does not", _good, pairs(1, 2, 3)),
    ]
    assert main(["--json", "--results", str(results)], lines) == 1
    document = json.loads(capsys.readouterr().out)
    assert [(row["what"], row["state"], row["error"]) for row in document["rows"]] == [
        ("before it failed", "met", ""),
        ("what fails", "error", "CommandError: broken"),
        ("good", "met", ""),
    ]
    assert document["rows"][2]["values"] == [0.1, 0.1]
    # What is measured again takes the place of its line; the rest is kept.
    lines[0] = Line("bad", "what fails", _good, pairs(1, 2, 3))
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    arguments = ["--only", "bad", "--quick", "--results", str(results), "--markdown", str(page)]
    assert main(arguments, lines) == 0
    assert "2 of 2 targets met" in capsys.readouterr().out
    assert page.read_text().count("| good |") == 2


def test_results_of_another_commit_are_not_mixed(capsys, tmp_path):
    results = tmp_path / "results.json"
    lines = [Line("good", "what does not", _good, pairs(1, 2, 3))]
    assert main(["--results", str(results)], lines) == 0
    assert main(["--results", str(results), "--against", "HEAD"], lines) == 2
    assert "against b18f4f6, not of" in capsys.readouterr().err
    results.write_text("[]")
    assert main(["--results", str(results)], lines) == 2
    assert "not a file of results" in capsys.readouterr().err


def test_page_that_is_missing_is_one_error(capsys, tmp_path):
    lines = [Line("good", "what does not", _good, pairs(1, 2, 3))]
    missing = tmp_path / "none.md"
    assert main(["--markdown", str(missing)], lines) == 2
    assert f"error: {missing}: No such file" in capsys.readouterr().err


def test_choice_that_matches_nothing_is_one_error(capsys):
    assert main(["--only", "nothing"]) == 2
    assert "error: no line is called nothing" in capsys.readouterr().err


def test_line_is_measured(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("ENVOYASSERT_CACHE", str(tmp_path))
    monkeypatch.setattr(session, "build_of", lambda _: Build("before", builds.ROOT))
    assert main(["--only", "version", "--quick", "--json"]) in (0, 1)
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [(row["against"], row["error"]) for row in rows] == [("b18f4f6", ""), ("python", "")]
    # The other is a difference: noise may make it less than nothing.
    assert rows[0]["median"] > 0
