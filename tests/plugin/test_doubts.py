"""What `check` warns of is printed by a session too, which may be green anyway."""

import re
import sys

import pytest

NOWHERE = """\
  - listener: {port: 9999}
    listen_calls: 0
"""
WARNING = (
    "{}:14:5: warning: no listener is at port 9999; there are 0.0.0.0:15006 "
    "(if that is meant, `why` says so)"
)
SECTION = "warnings about scenarios"
XDIST = [(), ("-p", "xdist", "-n2")]


@pytest.mark.parametrize("options", XDIST, ids=["one process", "xdist"])
@pytest.mark.parametrize("command", ["pytest", "envoyassert run"])
def test_warning_is_printed_once_for_all_runs_of_a_scenario(
    write_scenario, fake_envoy, options, command
):
    name = write_scenario(head="matrix: {concurrency: [1, 2, 4]}", more=NOWHERE)
    write_scenario(name="good")
    if command == "pytest":
        result = fake_envoy.runpytest_subprocess(*options)
    else:
        result = fake_envoy.run(sys.executable, "-m", "envoyassert", "run", ".", *options)
    assert result.ret == 0
    assert sum(SECTION in line for line in result.outlines) == 1
    assert [line for line in result.outlines if ": warning: " in line] == [WARNING.format(name)]
    result.stdout.fnmatch_lines(["4 runs executed: 4 passed *"])


def test_session_without_a_doubt_says_nothing_of_it(write_scenario, fake_envoy):
    write_scenario()
    result = fake_envoy.runpytest_subprocess()
    result.stdout.no_fnmatch_line(f"*{SECTION}*")
    # What is not run proves nothing that one could be wrong about.
    write_scenario(name="other", more=NOWHERE)
    result = fake_envoy.runpytest_subprocess("-k", "one")
    result.stdout.no_fnmatch_line(f"*{SECTION}*")


MOVED = """\
  - listener: {port: 9999}
    listen_calls: {at_least: 1}
    when: {concurrency: [1, 2]}
"""
PORTS = """\
matrix:
  concurrency: [1, 2]
  port:
    first: {}
    second: {static_resources: {listeners: {"0": {address: {socket_address: {port_value: 9999}}}}}}
"""


def test_what_a_run_has_that_is_left_out_counts_as_there(write_scenario, fake_envoy):
    write_scenario(head=PORTS, more=MOVED)
    result = fake_envoy.runpytest_subprocess("--envoyassert-once")
    result.stdout.fnmatch_lines(["1 run executed: *"])
    result.stdout.no_fnmatch_line(f"*{SECTION}*")
    write_scenario(head="matrix: {concurrency: [1, 2]}", more=MOVED)
    result = fake_envoy.runpytest_subprocess("--envoyassert-once")
    result.stdout.fnmatch_lines([f"*{SECTION}*"])


def test_warning_is_an_annotation_of_its_own_kind(write_scenario, fake_envoy, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    name = write_scenario(head="matrix: {concurrency: [1, 2]}", more=NOWHERE)
    result = fake_envoy.runpytest_subprocess()
    found = [line for line in result.outlines if line.startswith("::")]
    assert len(found) == 1
    start = f"::warning file={name},line=14,col=5,title=doubtful scenario::no listener is at port"
    assert found[0].startswith(start)


def test_fault_in_what_warns_costs_no_run(write_scenario, fake_envoy):
    write_scenario()
    fake_envoy.makepyfile(
        conftest=(fake_envoy.path / "conftest.py").read_text()
        + """
from envoyassert.scenario import doubtful
def fail(plans):
    raise ZeroDivisionError
doubtful.of_no_listener = fail
"""
    )
    result = fake_envoy.runpytest_subprocess()
    assert result.ret == 0
    (line,) = [line for line in result.outlines if ": warning: " in line]
    assert re.match(r"one\.envoyassert\.yaml: warning: not computed: ZeroDivisionError", line)
