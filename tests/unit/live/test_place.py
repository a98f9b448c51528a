"""Where a process lives, by what the kernel and the runtimes write."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from envoyassert.live.place import (
    ProcessPlace,
    fits,
    named_by_annotations,
    named_by_logs,
    named_by_storage,
    process_place_of,
)
from envoyassert.live.selection import ProcessSelection

ID = "4f797c539e6c745de61a93ca3ff892358ecbcaccd8414d5db545c38428142970"
OUTER = "9ec39b91f3d70e1beff50a308f77067065ea6be0d91a3378375056cd4422cf3d"
UID = "7e44ee88-1e65-4a16-8cdf-9a90c819180e"
UNDERSCORED = UID.replace("-", "_")
STATIC = "0123456789abcdef0123456789abcdef"
BURSTABLE = "/kubepods.slice/kubepods-burstable.slice"


@pytest.mark.parametrize(
    "cgroups, containers, pod_uid",
    [
        (f"12:memory:/docker/{ID}\n0::/\n", (ID,), ""),
        (f"0::/system.slice/docker-{ID}.scope\n", (ID,), ""),
        (f"0::/machine.slice/libpod-{ID}.scope/container\n", (ID,), ""),
        (f"0::/user.slice/user-7.slice/user@7.service/user.slice/libpod-{ID}.scope\n", (ID,), ""),
        (f"0::/user.slice/user-7.slice/user@7.service/user.slice/libpod-{ID}.scope/container\n",
         (ID,), ""),
        (f"0::/machine.slice/machine-libpod_pod_{OUTER}.slice/libpod-{ID}.scope\n", (ID,), ""),
        (f"4:pids:/libpod_parent/libpod-{ID}\n0::/libpod_parent/libpod-{ID}\n", (ID,), ""),
        (f"4:pids:/libpod_parent/{OUTER}/libpod-{ID}\n", (OUTER, ID), ""),
        ("4:pids:/libpod_parent/conmon\n", (), ""),
        (f"4:pids:/libpod_parent/libpod-conmon-{ID}\n", (), ""),
        (f"4:pids:/kubepods/burstable/pod{UID}/crio-{ID}\n", (ID,), UID),
        (f"4:pids:/kubepods/burstable/pod{UID}/crio-conmon-{ID}\n", (), UID),
        (f"0::{BURSTABLE}/kubepods-burstable-pod{UNDERSCORED}.slice/crio-{ID}.scope/container\n",
         (ID,), UID),
        (f"0::/machine.slice/libpod-conmon-{ID}.scope\n", (), ""),
        (f"5:cpu:/kubepods/burstable/pod{UID}/{ID}\n", (ID,), UID),
        (f"4:pids:/kubepods/pod{UID}/{ID}\n0::/kubepods/pod{UID}/{ID}\n", (ID,), UID),
        (f"0::{BURSTABLE}/kubepods-burstable-pod{UNDERSCORED}.slice/cri-containerd-{ID}.scope\n",
         (ID,), UID),
        (f"0::/kubepods.slice/kubepods-pod{UNDERSCORED}.slice/crio-{ID}.scope\n", (ID,), UID),
        (f"0::{BURSTABLE}/kubepods-burstable-pod{UNDERSCORED}.slice/crio-conmon-{ID}.scope\n",
         (), UID),
        (f"0::/kubepods/besteffort/pod{STATIC}/{ID}\n", (ID,), STATIC),
        (f"1:name=systemd:/docker/{OUTER}/kubepods/pod{UID}/{ID}\n", (OUTER, ID), UID),
        (f"0::/../../kubepods/pod{UID}/{ID}\n", (ID,), UID),
        (f"0::/system.slice:cri-containerd:{ID}\n", (ID,), ""),
        ("0::/user.slice/user-0.slice/session-1.scope\n", (), ""),
        ("0::/\n", (), ""),
        ("", (), ""),
    ],
)  # fmt: skip
def test_place_of_each_runtime_and_driver(cgroups, containers, pod_uid):
    place = process_place_of(cgroups)
    assert (place.containers, place.pod_uid) == (containers, pod_uid)
    assert place.container == (containers[-1] if containers else "")


NAMED = {"pod": "front", "namespace": "web", "pod_uid": UID, "container_name": "proxy"}
LABELS = {
    "io.kubernetes.pod.name": "front",
    "io.kubernetes.pod.namespace": "web",
    "io.kubernetes.pod.uid": UID,
    "io.kubernetes.container.name": "proxy",
}


@pytest.mark.parametrize(
    "annotations",
    [
        {
            "io.kubernetes.cri.sandbox-name": "front",
            "io.kubernetes.cri.sandbox-namespace": "web",
            "io.kubernetes.cri.sandbox-uid": UID,
            "io.kubernetes.cri.container-name": "proxy",
        },
        {"io.kubernetes.cri-o.Labels": json.dumps(LABELS)},
        LABELS,
    ],
    ids=["containerd", "CRI-O", "labels"],
)
def test_pod_is_named_by_what_a_runtime_writes(annotations):
    assert named_by_annotations(annotations) == NAMED


def test_image_is_named_by_what_a_runtime_writes():
    of_containerd = {"io.kubernetes.cri.image-name": "example.test/envoy:1"}
    assert named_by_annotations(of_containerd) == {"image": "example.test/envoy:1"}
    of_crio = {
        "io.kubernetes.cri-o.ImageName": "example.test/envoy:1",
        "io.kubernetes.cri-o.ImageRef": ID,
    }
    assert named_by_annotations(of_crio) == {"image": "example.test/envoy:1", "image_id": ID}


STORED = {
    "id": ID,
    "names": ["front"],
    "image": OUTER,
    "metadata": json.dumps({"image-name": "example.test/envoy:1", "name": "front"}),
}


def test_container_of_podman_is_named_by_its_storage():
    named = {"container_name": "front", "image": "example.test/envoy:1", "image_id": OUTER}
    assert named_by_storage(json.dumps([{"id": OUTER}, STORED]), ID) == named
    assert named_by_storage(json.dumps([STORED]), OUTER) == {}


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "{}", "1", "[1]", "[{}]", "[" * 100_000, f'[{{"id": "{ID}"}}]'),
        f'[{{"id": "{ID}", "names": 1, "metadata": []}}]',
        f'[{{"id": "{ID}", "names": [1], "image": {{}}, "metadata": "[]"}}]',
    ],
    ids=range(11),
)
def test_storage_that_is_none_names_nothing(text):
    assert named_by_storage(text, ID) == {}


@pytest.mark.parametrize("text", ["", "{", "[]", "1", "[" * 100_000], ids=range(5))
def test_labels_that_are_none_name_nothing(text):
    assert named_by_annotations({"io.kubernetes.cri-o.Labels": text}) == {}


def test_pod_is_named_by_its_logs():
    logs = ["kube-system_other_11", f"web_front_{UID}", "odd"]
    assert named_by_logs(UID, logs) == {"namespace": "web", "pod": "front"}
    assert named_by_logs("22", logs) == {}
    assert named_by_logs("", [*logs, "a_b_"]) == {}


PLACE = ProcessPlace((OUTER, ID), UID, (f"/kubepods/pod{UID}/{ID}",), "proxy", "web", "front")


@pytest.mark.parametrize(
    "wanted, fitting",
    [
        ({"container": ID}, True),
        ({"container": ID[:12]}, True),
        ({"container": OUTER[:12]}, True),
        ({"container": ID[:11]}, False),
        ({"container": "proxy"}, True),
        ({"container": "prox"}, False),
        ({"pod": "web/front"}, True),
        ({"pod": "default/front"}, False),
        ({"pod_uid": UID}, True),
        ({"pod_uid": UID[:8]}, False),
        ({"cgroup": "/kubepods"}, True),
        ({"cgroup": f"/kubepods/pod{UID}/"}, True),
        ({"cgroup": "/kube"}, False),
        ({"cgroup": "/sys/fs/cgroup/kubepods"}, True),
        ({"cgroup": "/sys/fs/cgroup/memory/kubepods"}, True),
        ({"cgroup": "/docker"}, False),
        ({"pod": "web/front", "container": "other"}, False),
        ({"pod": "web/front", "container": "proxy"}, True),
        ({}, True),
    ],
)
def test_all_that_is_said_of_a_place_must_hold(wanted, fitting):
    assert fits(ProcessSelection(**wanted), PLACE) is fitting


def test_place_without_names_fits_no_pod():
    assert not fits(ProcessSelection(pod="web/front"), replace(PLACE, pod="", namespace=""))
    assert not fits(ProcessSelection(container="x"), ProcessPlace())


def test_header_has_what_is_known():
    assert PLACE.as_header("node-1") == {
        "node": "node-1",
        "namespace": "web",
        "pod": "front",
        "pod_uid": UID,
        "container": ID,
        "container_name": "proxy",
    }
    assert ProcessPlace().as_header("node-1") == {"node": "node-1"}
    imaged = ProcessPlace(image="example.test/envoy:1", image_id=ID).as_header("")
    assert imaged == {"image": "example.test/envoy:1", "image_id": ID}


def test_words_of_a_place_name_the_nearest():
    assert PLACE.in_words() == "the pod web/front"
    assert replace(PLACE, pod="").in_words() == f"the pod with uid {UID}"
    assert ProcessPlace((ID,), container_name="a").in_words() == "the container a"
    assert ProcessPlace((ID,)).in_words() == f"the container {ID[:12]}"
    assert ProcessPlace().in_words() == "no container"
