"""contrib/kubernetes: what attach and run take, and no more than the guide says."""

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml

from envoyassert.cli import app, exits

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
CONTAINERS = {
    name: container
    for name, document in WORKLOADS.items()
    for container in pod_of(document)["containers"]
    if "envoyassert" in container["image"]
}
SHARDS = "shards.yaml Job"
TRACERS = {name: container for name, container in CONTAINERS.items() if name != SHARDS}
#: Volumes that are written to, beside the usual ones of a tracer.
WRITTEN = {SHARDS: ["reports", "scratch"]}


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
        assert writable == WRITTEN.get(name, ["traces", "scratch"])


def explained_below(heading):
    """The capabilities that the guide explains below a heading."""
    _, found, text = GUIDE.read_text().partition(f"\n## {heading}\n")
    assert found
    explained = re.findall(r"^\| `CAP_(\w+)` \|", text.partition("\n## ")[0], re.MULTILINE)
    assert explained
    return explained


def test_capabilities_are_those_that_the_guide_explains():
    of_tracers = explained_below("What a tracer is given, and why")
    for container in TRACERS.values():
        assert container["securityContext"]["capabilities"]["add"] == of_tracers
    added = CONTAINERS[SHARDS]["securityContext"]["capabilities"]["add"]
    assert added == of_tracers + explained_below("Scenarios on several machines")


def test_only_what_runs_envoyassert_sees_the_processes_of_the_node():
    seeing = {name for name, document in WORKLOADS.items() if pod_of(document).get("hostPID")}
    assert seeing == set(CONTAINERS)


def test_namespace_lets_pods_be_made_that_need_the_level_privileged():
    labels = DOCUMENTS["namespace.yaml Namespace"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "privileged"
    namespace = DOCUMENTS["namespace.yaml Namespace"]["metadata"]["name"]
    assert {one["metadata"]["namespace"] for one in WORKLOADS.values()} == {namespace}


def test_what_the_user_sets_is_marked_and_a_forgotten_image_is_refused():
    """A reference with capitals is no reference, so that nothing of another is pulled."""
    for container in CONTAINERS.values():
        assert container["image"].startswith("REGISTRY/")
    for name in ("job.yaml", "daemonset.yaml", "shards.yaml"):
        lines = (FOLDER / name).read_text().splitlines()
        at = next(n for n, line in enumerate(lines) if "image: REGISTRY/" in line)
        assert "SET the image" in lines[at - 1]


@pytest.fixture
def pod(tmp_path):
    """Do what the pod with an index does; return the words of envoyassert, or its exit code if that
    is not 0."""

    def call(index, code=0, **variables):
        tool = tmp_path / "envoyassert"
        tool.write_text(f'#!/bin/sh\necho "$@"\nexit {code}\n')
        tool.chmod(0o755)
        container = CONTAINERS[SHARDS]
        own = {one["name"]: one.get("value", "f00d") for one in container["env"]}
        own |= {"REPORTS": str(tmp_path / "reports"), "SCENARIOS": str(tmp_path / "mounted")}
        own |= {"PATH": f"{tmp_path}:/usr/bin:/bin", "JOB_COMPLETION_INDEX": str(index)}
        done = subprocess.run(
            [*container["command"], *container["args"]],
            env=own | variables,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.split() if done.returncode == 0 else done.returncode

    (tmp_path / "mounted").mkdir()
    (tmp_path / "mounted" / "one.yaml").touch()
    return call


def reports_of(tmp_path, *parts):
    for part in parts:
        place = tmp_path / "reports" / "f00d" / part
        place.mkdir(parents=True)
        (place / "index.json").write_text("{}")
        (place / "durations.json").write_text(part)


def test_script_of_the_pods_satisfies_shellcheck():
    (script,) = CONTAINERS[SHARDS]["args"]
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([shellcheck, "--shell=sh", "-"], input=script, text=True, check=False)
    assert done.returncode == 0


def test_there_is_a_pod_for_each_part_and_one_that_merges():
    spec = DOCUMENTS[SHARDS]["spec"]
    (parts,) = (one["value"] for one in CONTAINERS[SHARDS]["env"] if one["name"] == "PARTS")
    assert (spec["completionMode"], spec["completions"]) == ("Indexed", int(parts) + 1)
    # Else the first part that fails ends those of all others, and the merging with them.
    assert spec["backoffLimitPerIndex"] > 0
    assert "backoffLimit" not in spec
    assert pod_of(DOCUMENTS[SHARDS])["restartPolicy"] == "Never"


def test_only_what_was_interrupted_or_is_not_there_yet_is_tried_again():
    *_, rule = DOCUMENTS[SHARDS]["spec"]["podFailurePolicy"]["rules"]
    assert rule["action"] == "FailIndex"
    assert rule["onExitCodes"]["containerName"] == CONTAINERS[SHARDS]["name"]
    assert rule["onExitCodes"]["operator"] == "NotIn"
    assert rule["onExitCodes"]["values"] == [exits.INTERRUPTED]


@pytest.mark.parametrize("index", [0, 1, 2])
def test_pod_runs_the_part_of_its_index(pod, tmp_path, index):
    words = pod(index)
    assert words[:2] == ["run", "scenarios"]
    number = index + 1
    report = f"{tmp_path}/reports/f00d/part-{number}"
    assert words[-4:] == ["--shard", f"{number}/3", "--html", report]
    command = app.get_command(click.Context(app), "run")
    assert command is not None
    values = command.make_context("run", words[1:]).params
    assert (values["shard"], values["html"]) == (f"{number}/3", report)
    assert values["envoys"] == ("/envoy/envoy",)
    assert (tmp_path / "scenarios" / "one.yaml").exists()


def test_pod_takes_the_durations_of_an_earlier_job(pod, tmp_path):
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "durations.json").write_text("{}")
    assert pod(0)[-2:] == ["--durations-path", f"{tmp_path}/reports/durations.json"]


def test_last_pod_merges_what_there_is(pod, tmp_path):
    assert pod(3) == exits.INTERRUPTED
    reports_of(tmp_path, "merged", "part-1", "part-3")
    (tmp_path / "reports" / "f00d" / "part-2").mkdir()  # it has only just begun
    place = f"{tmp_path}/reports/f00d"
    said = ["merge", f"{place}/part-1", f"{place}/part-3", "-o", f"{place}/merged"]
    assert pod(3) == said


@pytest.mark.parametrize("code", [0, 1, 2, 4, 10])
def test_last_pod_ends_as_merge_does_and_keeps_the_durations_of_a_whole(pod, tmp_path, code):
    reports_of(tmp_path, "merged", "part-1")
    ended = pod(3, code)
    assert ended == code or code == 0
    assert (tmp_path / "reports" / "durations.json").exists() is (code in (0, 1, 10))
