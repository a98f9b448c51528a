"""What is said of a config that could not be read."""

from __future__ import annotations

import os
import subprocess

from envoyassert.attach.envoy import config_of
from envoyassert.live.arguments import envoy_arguments_of

ARGUMENTS = envoy_arguments_of(["envoy", "-c", "/nowhere/envoy.yaml"])


def test_config_of_a_process_that_has_ended_is_reported_as_too_late():
    with subprocess.Popen(["true"]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        zombie = config_of(ended.pid, ARGUMENTS).note
    assert zombie.endswith("is not known: Envoy ended before it could be read")
    assert config_of(ended.pid, ARGUMENTS).note == zombie


def test_config_that_is_not_there_is_reported_as_missing():
    note = config_of(os.getpid(), ARGUMENTS).note
    assert note == "its config /nowhere/envoy.yaml cannot be read: No such file or directory"
