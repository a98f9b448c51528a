"""What a command line says."""

from __future__ import annotations

import pytest

from envoyassert.live.arguments import EnvoyArguments, envoy_arguments_of, with_config_yaml


def test_arguments_of_a_command_line_are_read():
    argv = [
        *("envoy", "-c", "/etc/envoy.yaml", "--concurrency", "3", "--config-yaml", "node: {id: a}"),
        *("--base-id", "7", "--restart-epoch", "2", "--admin-address-path", "/run/admin"),
    ]
    assert envoy_arguments_of(argv) == EnvoyArguments(
        config_path="/etc/envoy.yaml",
        config_yaml="node: {id: a}",
        concurrency=3,
        admin_address_path="/run/admin",
        base_id=7,
        restart_epoch=2,
    )


def test_arguments_that_are_not_given_are_envoys_own():
    assert envoy_arguments_of(["envoy"]) == EnvoyArguments()
    assert envoy_arguments_of([]) == EnvoyArguments()
    assert envoy_arguments_of(["envoy", "--concurrency", "many"]).concurrency is None
    assert envoy_arguments_of(["envoy", "--use-dynamic-base-id"]).base_id is None


@pytest.mark.parametrize(
    "words, serves",
    [
        (["-c", "a.yaml"], True),
        (["--mode", "serve", "-c", "a.yaml"], True),
        (["--mode", "validate", "-c", "a.yaml"], False),
        (["--version"], False),
        (["--hot-restart-version"], False),
    ],
)
def test_an_envoy_that_only_says_something_does_not_serve(words, serves):
    assert envoy_arguments_of(["envoy", *words]).serves is serves


def test_config_yaml_merges_as_protobuf_does():
    config = {"node": {"id": "a", "cluster": "c"}, "static_resources": {"listeners": [1]}}
    more = {"node": {"id": "b"}, "static_resources": {"listeners": [2]}, "admin": {}}
    assert with_config_yaml(config, more) == {
        "node": {"id": "b", "cluster": "c"},
        "static_resources": {"listeners": [1, 2]},
        "admin": {},
    }
    assert config["node"] == {"id": "a", "cluster": "c"}
