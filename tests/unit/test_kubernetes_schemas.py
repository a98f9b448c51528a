"""contrib/kubernetes: what the API takes, by its own schemas."""

import copy

import kubernetes_validate
import pytest

from tests.unit.test_kubernetes_manifests import DOCUMENTS, pod_of

#: The oldest release whose API has all fields that are used (appArmorProfile).
OLDEST = "1.30"
VERSIONS = [OLDEST, kubernetes_validate.latest_version()]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", DOCUMENTS)
def test_manifest_is_what_the_api_takes(name, version):
    kubernetes_validate.validate(DOCUMENTS[name], version, strict=True)


def broken(change):
    document = copy.deepcopy(DOCUMENTS["daemonset.yaml DaemonSet"])
    change(document)
    return document


FAULTS = {
    "misspelled field": lambda one: pod_of(one).update(hostPid=True),
    "wrong type": lambda one: pod_of(one).update(hostPID="yes"),
    "missing field": lambda one: one["spec"].pop("selector"),
    "misspelled deep inside": lambda one: pod_of(one)["containers"][0]["securityContext"].update(
        readOnlyRootFileSystem=True
    ),
    "a list that must be one": lambda one: pod_of(one)["containers"][0].update(args="attach"),
}


@pytest.mark.parametrize("change", FAULTS.values(), ids=FAULTS)
def test_manifest_that_the_api_refuses_is_noticed(change):
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken(change), OLDEST, strict=True)
