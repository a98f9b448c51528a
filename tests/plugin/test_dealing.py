"""In which order the processes of `envoyassert run -n` take the runs."""

from __future__ import annotations

import re
import sys

import pytest


@pytest.fixture
def began(write_scenario, fake_envoy, monkeypatch):
    """A function that runs four scenarios, and returns the order and what xdist says of it."""
    monkeypatch.setenv("PYTEST_PLUGINS", "envoyassert.pytest_plugin.plugin,xdist.plugin")
    for name, seconds in (("a", 0), ("b", 1), ("c", 0), ("d", 3)):
        write_scenario(name=name)
        path = fake_envoy.path / f"{name}.envoyassert.yaml"
        if seconds:
            timer = f"args: [--drain-time-s, '{seconds}']"
            path.write_text(path.read_text().replace("envoy:\n", f"envoy:\n  {timer}\n"))

    def asked(*options):
        result = fake_envoy.run(sys.executable, "-m", "envoyassert", "run", "-v", ".", *options)
        assert result.ret == 0
        out = result.stdout.str()
        (how,) = re.findall(r"scheduling tests via (\w+)", out) or [""]
        names = re.findall(r"(?m)PASSED (\w)\.envoyassert|^(\w)\.envoyassert\S+ PASSED", out)
        return how, "".join(first or second for first, second in names)

    return asked


def test_process_begins_with_the_longest_wait_and_the_others_keep_their_order(began):
    assert began("-n", "1") == ("WorkStealingScheduling", "dbac")


def test_order_is_that_of_the_files_where_one_process_does_all(began):
    assert began() == ("", "abcd")
    assert began("-n", "0") == ("", "abcd")


def test_what_is_asked_of_xdist_is_done(began):
    assert began("-n", "1", "--dist", "load") == ("LoadScheduling", "abcd")
    assert began("-n", "1", "--dist", "loadfile")[0] == "LoadFileScheduling"


def test_all_are_run_by_several(began):
    how, names = began("-n", "2")
    assert (how, sorted(names)) == ("WorkStealingScheduling", list("abcd"))
