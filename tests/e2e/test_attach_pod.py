"""`envoyassert attach --pod`: a pod that a container runtime starts."""

from __future__ import annotations

import pytest

from tests.e2e.attaching import CONFIG, LONG, Attaching, assert_equal_to_run
from tests.e2e.launching import IMAGE

pytestmark = [pytest.mark.bpf, pytest.mark.envoy, pytest.mark.docker]


def test_pod_is_recorded_by_its_name_as_by_run(tmp_path, pods):
    trace = tmp_path / "up.ndjson"
    arguments = ["--config-yaml", CONFIG, "--concurrency", "2"]
    with (
        Attaching("--pod", "web/front", "--for", LONG, "-o", trace) as attached,
        pods.pod("web", "other", IMAGE, arguments),
        pods.pod("web", "front", IMAGE, arguments) as pod,
    ):
        done = attached.end()
    assert done.returncode == 0, done.stdout + done.stderr
    read = assert_equal_to_run(trace, tmp_path)
    where = read.header.where
    assert (where["namespace"], where["pod"], where["pod_uid"]) == ("web", "front", pod.uid)
    assert (where["container"], where["container_name"]) == (pod.container, "proxy")
    assert where["image"].endswith(IMAGE)
    assert read.events[0].pid == pod.pid
    assert 0 < read.header.inner_pids[str(pod.pid)] < pod.pid
