"""contrib/kubernetes: what attach takes, and no more than the guide says."""

import re
from pathlib import Path

import click
import pytest
import yaml

from envoyassert.cli import app

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "contrib" / "kubernetes"
GUIDE = ROOT / "contrib" / "README.md"
DOCUMENTS = {
    f"{path.name} {document['kind']}": document
    for path in sorted(FOLDER.glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
}
WORKLOADS = {
    name: document for name, document in DOCUMENTS.items() if "template" in document.get("spec", {})
}


def pod_of(document):
    return document["spec"]["template"]["spec"]


#: Containers that run envoyassert, by the manifest that they are in.
TRACERS = {
    name: container
    for name, document in WORKLOADS.items()
    for container in pod_of(document)["containers"]
    if "envoyassert" in container["image"]
}


def test_there_are_a_job_and_a_daemonset_that_trace():
    assert {name.split()[1] for name in TRACERS} == {"Job", "DaemonSet"}


@pytest.mark.parametrize("name", TRACERS)
def test_arguments_are_those_of_the_command(name):
    container = TRACERS[name]
    values = {one["name"]: one.get("value", "node") for one in container["env"]}
    words = [re.sub(r"\$\((\w+)\)", lambda m: values[m[1]], word) for word in container["args"]]
    command = app.get_command(click.Context(app), words[0])
    assert command is not None
    command.make_context(words[0], words[1:])


@pytest.mark.parametrize("name", WORKLOADS)
def test_no_pod_gets_a_token_or_the_network_of_its_node(name):
    pod = pod_of(WORKLOADS[name])
    assert pod["automountServiceAccountToken"] is False
    assert "serviceAccountName" not in pod
    assert not pod.get("hostNetwork")
    assert not pod.get("hostIPC")


@pytest.mark.parametrize("name", WORKLOADS)
def test_containers_have_no_more_than_they_need(name):
    for container in pod_of(WORKLOADS[name])["containers"]:
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"]["drop"] == ["ALL"]
        assert not context.get("privileged")
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["resources"]["limits"]["memory"]
        writable = [one["name"] for one in container["volumeMounts"] if not one.get("readOnly")]
        assert writable == ["traces", "scratch"]


def test_capabilities_are_those_that_the_guide_explains():
    explained = re.findall(r"^\| `CAP_(\w+)` \|", GUIDE.read_text(), re.MULTILINE)
    assert explained
    for container in TRACERS.values():
        assert container["securityContext"]["capabilities"]["add"] == explained


def test_only_tracers_see_the_processes_of_the_node():
    seeing = {name for name, document in WORKLOADS.items() if pod_of(document).get("hostPID")}
    assert seeing == set(TRACERS)


def test_namespace_lets_pods_be_made_that_need_the_level_privileged():
    labels = DOCUMENTS["namespace.yaml Namespace"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "privileged"
    namespace = DOCUMENTS["namespace.yaml Namespace"]["metadata"]["name"]
    assert {one["metadata"]["namespace"] for one in WORKLOADS.values()} == {namespace}


def test_what_the_user_sets_is_marked_and_a_forgotten_image_is_refused():
    """A reference with capitals is no reference, so that nothing of another is pulled."""
    for container in TRACERS.values():
        assert container["image"].startswith("REGISTRY/")
    for name in ("job.yaml", "daemonset.yaml"):
        lines = (FOLDER / name).read_text().splitlines()
        at = next(n for n, line in enumerate(lines) if "image: REGISTRY/" in line)
        assert "SET the image" in lines[at - 1]
