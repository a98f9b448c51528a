"""What an Envoy waits for, from its answers."""

from __future__ import annotations

import json

import pytest

from envoyassert.launch.admin import AdminUnreachableError
from envoyassert.launch.readiness import waits_of

ID = 13748351270096436664


def dump(**managers: list[str]) -> str:
    """Return an answer of /init_dump."""
    found = [
        {"name": f"init manager Listener-local-init-manager {name} {ID}", "target_names": targets}
        for name, targets in managers.items()
    ]
    return json.dumps({"unready_targets_dumps": found})


def waits(state: str, stats: str, init_dump: str = "") -> tuple[str, ...]:
    def admin_get(path: str) -> tuple[int, str]:
        return 200, stats if path.startswith("/stats") else init_dump

    return waits_of(admin_get, state)


def test_clusters_that_warm_are_named():
    stats = "cluster.a.b.warming_state: 1\ncluster.c.warming_state: 0\ncluster.d.warming_state: 1\n"
    assert waits("PRE_INITIALIZING", stats) == ("cluster a.b", "cluster d")


@pytest.mark.parametrize(
    "prefix, state, words",
    [
        ("runtime", "PRE_INITIALIZING", "the runtime of RTDS"),
        ("cluster_manager.cds", "PRE_INITIALIZING", "the clusters of CDS"),
        ("listener_manager.lds", "INITIALIZING", "the listeners of LDS"),
    ],
)
def test_source_that_has_not_answered_is_named(prefix, state, words):
    waiting = f"{prefix}.init_fetch_timeout: 0\n{prefix}.update_success: 0\n"
    assert waits(state, waiting, "{}") == (words,)
    assert waits(state, waiting.replace("success: 0", "success: 1"), "{}") == ()
    assert waits(state, waiting.replace("timeout: 0", "timeout: 1"), "{}") == ()
    assert waits(state, "", "{}") == ()


def test_targets_of_listeners_are_named_by_kind():
    init = dump(
        a=["shared target RdsRouteConfigSubscription RDS init web"],
        b=["shared target SdsApi key", "target Something else"],
    )
    assert waits("INITIALIZING", "cluster.a.warming_state: 1", init) == (
        "routes web of listener a",
        "secret key of listener b",
        "Something else of listener b",
    )
    other = dump(c=["shared target FilterConfigSubscription init filter"])
    assert waits("INITIALIZING", "", other) == ("extension filter of listener c",)


def test_targets_of_listeners_are_not_begun_before_the_clusters():
    init = dump(a=["shared target SdsApi key"])
    assert waits("PRE_INITIALIZING", "cluster.x.warming_state: 1", init) == ("cluster x",)


def test_of_a_long_name_there_is_its_beginning():
    (found,) = waits("PRE_INITIALIZING", f"cluster.{'a' * 70_000}.warming_state: 1\n")
    assert found.startswith("cluster aaa")
    assert len(found) == 200


def test_of_many_names_the_rest_is_a_number():
    stats = "".join(f"cluster.{number}.warming_state: 1\n" for number in range(7))
    found = waits("PRE_INITIALIZING", stats)
    assert found == ("cluster 0", "cluster 1", "cluster 2", "4 more")


@pytest.mark.parametrize(
    "answer",
    [
        *("", "[]", "no JSON", "null", "[" * 20_000),
        *('{"unready_targets_dumps": [1]}', '{"unready_targets_dumps": [{"name": 1}]}'),
    ],
)
def test_answer_of_another_form_says_nothing(answer):
    assert waits("INITIALIZING", "", answer) == ()


def test_envoy_that_does_not_answer_says_nothing():
    def admin_get(_path: str) -> tuple[int, str]:
        raise AdminUnreachableError("gone")

    assert waits_of(admin_get, "INITIALIZING") == ()
    assert waits_of(lambda _: (403, "forbidden"), "INITIALIZING") == ()
