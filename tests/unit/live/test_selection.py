"""Which processes are meant."""

from __future__ import annotations

import pytest

from envoyassert.live.selection import ProcessSelection


@pytest.mark.parametrize(
    "exe, filename, accepted",
    [
        ("envoy", "/usr/local/bin/envoy", True),
        ("envoy", "envoy", True),
        ("envoy", "/usr/bin/envoy-admin", False),
        ("envoy", "/opt/envoy/run", False),
        ("/usr/local/bin/envoy", "/usr/local/bin/envoy", True),
        ("/usr/local/bin/envoy", "/usr/bin/envoy", False),
        ("/usr/local/bin/envoy", "envoy", False),
    ],
)
def test_executable_with_a_slash_is_a_path_and_else_a_last_part(exe, filename, accepted):
    assert ProcessSelection(exe=exe).accepts_executable(filename) is accepted


def test_every_variable_must_be_in_the_environment():
    both = ProcessSelection(env=("A=1", "B=2"))
    assert both.accepts_environment(["B=2", "C=3", "A=1"])
    assert not both.accepts_environment(["A=1"])
    assert not both.accepts_environment(["A=1", "B=22"])
    assert ProcessSelection().accepts_environment([])


def test_places_are_decided_by_user_space():
    assert not ProcessSelection(env=("A=1",), uid=0).needs_place
    assert ProcessSelection(container="x").needs_place
    assert ProcessSelection(pod="x/y").needs_place
    assert ProcessSelection(pod_uid="x").needs_place
    assert ProcessSelection(cgroup="/x").needs_place


def test_words_of_a_selection_name_all_that_is_asked():
    selection = ProcessSelection(
        env=("A=1", "B=2"), uid=0, container="c0", pod="web/front", pod_uid="u1", cgroup="/k"
    )
    assert selection.in_words() == (
        "envoy with A=1 and B=2 as user 0 in the container c0 in the pod web/front "
        "in the pod with uid u1 in the cgroup /k"
    )
    assert ProcessSelection().in_words() == "envoy"
