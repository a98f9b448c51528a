"""Annotations on the YAML line, and the summary of a job."""

import re

import pytest

ATOM = "    bound: {times: 1, by: main}"


@pytest.fixture
def github(monkeypatch, fake_envoy):
    """Run pytest as in a workflow of GitHub; return its result and the job's summary."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(fake_envoy.path))
    summary = fake_envoy.path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))

    def run(*arguments):
        result = fake_envoy.runpytest_subprocess(*arguments)
        return result, summary.read_text() if summary.exists() else ""

    return run


def annotations(result):
    found = []
    for line in result.outlines:
        match = re.fullmatch(r"::error (.*?)::(.*)", line)
        if match:
            properties = dict(part.split("=", 1) for part in match[1].split(","))
            found.append({**properties, "message": match[2].replace("%0A", "\n")})
    return found


@pytest.mark.parametrize("options", [(), ("-p", "xdist", "-n2")], ids=["one process", "xdist"])
def test_failures_are_annotated_on_their_line_and_summed_up(
    write_scenario, fake_envoy, github, options
):
    below = fake_envoy.mkdir("below")
    for name, fake in (("good", "shared"), ("bad", "reuse_port"), ("torn", "lossy")):
        (fake_envoy.path / write_scenario(name=name, fake=fake)).rename(
            below / f"{name}.envoyassert.yaml"
        )
    line = (below / "bad.envoyassert.yaml").read_text().splitlines().index(ATOM) + 1
    result, summary = github(*options)
    by_title = {found["title"]: found for found in annotations(result)}
    assert set(by_title) == {"FAIL bad", "INCONCLUSIVE torn"}
    bad = by_title["FAIL bad"]
    assert (bad["file"], bad["line"]) == ("below/bad.envoyassert.yaml", str(line))
    assert bad["message"].startswith("FAIL bad: port 15006: expected 1 bind() call")
    assert "\n  seen      2 bind() calls\n" in bad["message"]
    headline = "## envoyassert: 3 runs executed: 1 passed, 1 failed, 1 inconclusive "
    assert summary.startswith(headline)
    assert f"| ❌ FAIL | bad | below/bad.envoyassert.yaml:{line} | port 15006: expected" in summary
    assert "| ❔ INCONCLUSIVE | torn | below/torn.envoyassert.yaml:" in summary
    assert "<details><summary>FAIL bad</summary>\n\n```text\nFAIL bad: " in summary
    assert "- certificates: 2 whole, 1 NOT whole\n" in summary
    assert summary.count("```mermaid\n") == 1
    assert "\n### Sockets of bad\n\n```mermaid\nflowchart LR\n" in summary
    assert "0.0.0.0:15006<br/>2 kernel sockets<br/>held by worker_0 and worker_1" in summary
    assert "good" not in summary


def test_invalid_scenario_is_annotated_at_its_place(write_scenario, github):
    name = write_scenario(head="descripton: typo")
    result, summary = github()
    (found,) = annotations(result)
    assert (found["file"], found["line"], found["col"]) == (name, "2", "1")
    assert "descripton" in found["message"]
    assert f"| ⚠️ ERROR | invalid scenario | {name}:2 | " in summary


def test_machine_error_is_annotated_where_the_scenario_says_its_name(write_scenario, github):
    name = write_scenario(fake="crash")
    result, summary = github()
    (found,) = annotations(result)
    assert (found["file"], found["line"], found["title"]) == (name, "1", "ERROR one")
    assert "Envoy cannot be executed" in found["message"]
    assert "| ⚠️ ERROR | one |" in summary


def test_summary_is_added_to_what_is_there_when_all_passed(write_scenario, fake_envoy, github):
    write_scenario()
    (fake_envoy.path / "summary.md").write_text("# Build\n")
    result, summary = github()
    assert annotations(result) == []
    assert summary.startswith("# Build\n## envoyassert: 1 run executed: 1 passed ")
    assert "|" not in summary
    assert "mermaid" not in summary


def test_python_tests_alone_leave_no_summary(fake_envoy, github):
    fake_envoy.makepyfile("def test_it():\n    assert False")
    result, summary = github()
    assert (annotations(result), summary) == ([], "")


def test_summary_that_cannot_be_written_is_a_warning(write_scenario, monkeypatch, github):
    write_scenario()
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "/no/such/directory/summary.md")
    result, _ = github()
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["warning: the summary of the job: /no/such/*/summary.md cannot be written: No such file*"]
    )


def test_session_without_a_terminal_has_annotations_and_summary(write_scenario, github):
    write_scenario(name="bad", fake="reuse_port")
    result, summary = github("-p", "no:terminal")
    assert result.ret == 1
    assert [found["title"] for found in annotations(result)] == ["FAIL bad"]
    assert "| ❌ FAIL | bad |" in summary


def test_session_that_is_interrupted_has_what_failed_before(write_scenario, fake_envoy, github):
    write_scenario(name="a", fake="reuse_port")
    write_scenario(name="b")
    fake_envoy.makepyfile(
        later="""
        import pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_logreport(report):
            if report.when == "call":
                raise KeyboardInterrupt
        """
    )
    result, summary = github("-p", "later")
    assert result.ret == 2
    assert [found["title"] for found in annotations(result)] == ["FAIL a"]
    assert "| ❌ FAIL | a |" in summary


def test_failure_that_another_plugin_annotates_is_not_annotated_twice(
    write_scenario, fake_envoy, github
):
    write_scenario(name="bad", fake="reuse_port")
    write_scenario(name="torn", fake="lossy")
    # Of the public plugin's name, which knows failures of the call phase only.
    (fake_envoy.path / "pytest_github_actions_annotate_failures.py").write_text("")
    result, summary = github("-p", "pytest_github_actions_annotate_failures")
    assert [found["title"] for found in annotations(result)] == ["INCONCLUSIVE torn"]
    assert "FAIL bad" in summary


def test_at_a_desk_there_are_no_annotations(write_scenario, fake_envoy):
    write_scenario(fake="reuse_port")
    assert annotations(fake_envoy.runpytest_subprocess()) == []
