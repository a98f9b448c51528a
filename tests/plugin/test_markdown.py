"""`--envoyassert-markdown`: a session as a document for people."""

import sys

import pytest


@pytest.fixture
def markdown(fake_envoy):
    """Run pytest with a document; return its result and the text."""

    def run(*arguments):
        result = fake_envoy.runpytest_subprocess("--envoyassert-markdown=out.md", *arguments)
        return result, (fake_envoy.path / "out.md").read_text()

    return run


@pytest.mark.parametrize("options", [(), ("-p", "xdist", "-n2")], ids=["one process", "xdist"])
def test_document_has_a_table_and_what_is_wrong_with_each_run(write_scenario, markdown, options):
    for name, fake in (
        ("good", "shared"),
        ("bad", "reuse_port"),
        ("torn", "lossy"),
        ("gone", "crash"),
        ("un", "unmet"),
    ):
        write_scenario(name=name, fake=fake)
    result, text = markdown(*options)
    assert result.ret == 1
    assert text.startswith(
        "# envoyassert: 3 runs executed: 1 passed, 1 failed, 1 inconclusive, 1 error, 1 skipped"
    )
    rows = [line for line in text.splitlines() if line.startswith("| ")][1:]
    assert sorted(row.split(" | ")[0].removeprefix("| ") for row in rows) == [
        *("ERROR", "FAIL", "INCONCLUSIVE", "PASS", "SKIP"),
    ]
    assert "| PASS | good | 1.40.0 | process |  |" in rows
    bad = text.partition("## FAIL bad\n")[2].partition("\n## ")[0]
    assert "- Envoy 1.40.0, build id ab12, launcher process, concurrency 2, kernel " in bad
    assert "- scenario: bad.envoyassert.yaml:12:13\n" in bad
    assert "### port 15006 bound.times\n" in bad
    assert "- expected: 1 bind() call\n- seen: 2 bind() calls\n" in bad
    assert "  main  bind(21, 0.0.0.0:15006) = 0\n" in bad
    assert "- reason: 10 of 19 events lost" in text.partition("## INCONCLUSIVE torn\n")[2]
    assert "Envoy cannot be executed" in text.partition("## ERROR gone\n")[2]
    assert "## PASS" not in text
    assert "## SKIP" not in text


def test_text_of_others_is_text_in_the_document(write_scenario, markdown):
    scenario = "<b>*bold*</b> | [a](b) @edge"
    name = write_scenario(fake="reuse_port", more=f"    why: '{scenario}'\n")
    _, text = markdown(name)
    assert "- why: &lt;b&gt;\\*bold\\*&lt;/b&gt; \\| \\[a\\](b) @<!-- -->edge\n" in text


def test_file_that_is_no_scenario_is_in_the_document(write_scenario, markdown):
    name = write_scenario(head="descripton: typo")
    result, text = markdown()
    assert result.ret == 2
    assert "**The session did not reach its end" in text
    assert f"## ERROR {name}\n\n```text\n{name}:2:1: error: " in text


def test_document_of_a_killed_session_is_no_earlier_one(write_scenario, fake_envoy, markdown):
    write_scenario()
    markdown()
    fake_envoy.makepyfile(test_later="import os\n\ndef test_end():\n    os._exit(9)\n")
    _, text = markdown("test_later.py")
    assert text == "# envoyassert: the session has not ended\n"


def test_collecting_alone_leaves_an_earlier_document(write_scenario, markdown):
    write_scenario()
    assert markdown()[1] == markdown("--collect-only")[1]


def test_place_that_cannot_be_written_is_a_usage_error(write_scenario, fake_envoy):
    write_scenario()
    (fake_envoy.path / "file").touch()
    result = fake_envoy.runpytest_subprocess("--envoyassert-markdown=file/out.md")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --envoyassert-markdown: file/out.md cannot be written: *"])


def test_document_that_cannot_be_written_at_the_end_costs_no_other_output(
    write_scenario, fake_envoy
):
    write_scenario()
    fake_envoy.makepyfile(
        later="""
        import pathlib

        def pytest_runtest_setup():
            path = pathlib.Path("out.md")
            path.unlink()
            path.mkdir()
        """
    )
    result = fake_envoy.runpytest_subprocess(
        *("--envoyassert-markdown=out.md", "--envoyassert-report=report", "-p", "later")
    )
    assert result.ret == 1
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["ERROR: out.md cannot be written: Is a directory"])
    result.stdout.fnmatch_lines(["results: report/index.json"])
    assert result.stdout.str().count("out.md cannot be written") == 1


def test_long_document_says_what_it_leaves_out(write_scenario, fake_envoy, markdown):
    with (fake_envoy.path / "conftest.py").open("a") as conftest:
        conftest.write("\nfrom envoyassert.outputs import markdown\nmarkdown.MAX_LENGTH = 2500\n")
    write_scenario(fake="reuse_port", head="matrix: {concurrency: [2, 3, 4]}")
    _, text = markdown()
    assert len(text) < 2500
    left_out = 3 - text.count("\n## FAIL")
    assert left_out > 0
    assert text.endswith(f"… and the details of {left_out} more, which the log has\n")


def test_command_takes_the_option(write_scenario, fake_envoy):
    write_scenario()
    result = fake_envoy.run(sys.executable, "-m", "envoyassert", "run", ".", "--markdown", "out.md")
    assert result.ret == 0
    assert "| PASS | one |" in (fake_envoy.path / "out.md").read_text()
