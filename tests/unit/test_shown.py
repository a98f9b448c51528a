"""What others write is shown as text in every output."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from envoyassert.addresses import Address
from envoyassert.cli import main
from envoyassert.draft.expected import Draft, EnvoyField
from envoyassert.draft.scenario_text import draft_text
from envoyassert.predict.sockets import SocketOption, SocketSet
from envoyassert.report.github_text import Annotation, Entry, job_summary, workflow_command
from envoyassert.shown import json_text, shown, shown_lines
from envoyassert.trace import Trace
from envoyassert.trace_file import parse_trace, write_trace
from tests.fuzz.files import Line, closed_again
from tests.fuzz.values import places_in
from tests.odd_text import ODD, RAW, raw_in
from tests.unit.test_trace_schema import lines_of
from tests.whole_trace import whole

PACKAGE = Path(__file__).parents[2] / "envoyassert"


@given(st.text())
def test_shown_text_is_one_line_that_can_be_seen_and_stays_as_it_is(text: str) -> None:
    once = shown(text)
    assert once.isprintable()
    assert raw_in(once) == []
    assert shown(once) == once


@given(st.text(st.characters(max_codepoint=0x7E, min_codepoint=0x20), max_size=30))
def test_plain_text_is_not_changed(text: str) -> None:
    assert shown(f"a {text}") == f"a {text}" or "##" in text


def test_other_scripts_and_signs_are_no_oddities() -> None:
    for text in ("größer", "日本語", "שלום", "✓ → … ❌", "🙂"):
        assert shown(text) == text


@pytest.mark.parametrize("char", RAW)
def test_each_odd_character_is_an_escape(char: str) -> None:
    assert shown(f"a{char}b") == "a" + json.loads(json.dumps(shown(char))) + "b"
    assert yaml.safe_load(f'"a{shown(char)}b"') == f"a{char}b"


@given(st.lists(st.text()))
def test_lines_stay_lines(lines: list[str]) -> None:
    assert shown_lines("\n".join(lines)).count("\n") == "\n".join(lines).count("\n")


@given(st.recursive(st.text() | st.integers(), lambda inner: st.dictionaries(st.text(), inner)))
def test_json_reads_as_the_same_and_has_nothing_raw(data: Any) -> None:
    assert json.loads(json_text(data)) == data
    assert raw_in(json_text({"odd": ODD, "data": data})) == []


def odd_trace() -> Trace:
    """Return a trace in which every text that is free to be anything is odd."""
    texts = []
    for line in lines_of(whole()):
        if "format" in line:
            line["excerpt"] = None
        for owner, key in places_in(line, 3):
            _make_odd(line, owner, key)
        texts.append(json.dumps(line))
    return parse_trace(closed_again(texts))


def _make_odd(line: Line, owner: Any, key: Any) -> None:
    found = owner[key]
    if not isinstance(found, str) or key in ("format", "call", "family", "by", "host"):
        return
    owner[key] = found + ODD
    before = json.dumps(lines_of(whole())[0])
    try:
        parse_trace([json.dumps(line) if "format" in line else before, json.dumps(line)])
    except Exception as error:  # noqa: BLE001 - the next line says which
        if "match pattern" in str(error):
            owner[key] = found


SCENARIO: dict[str, Any] = {
    "name": "odd",
    "description": ODD,
    "envoy": {
        "concurrency": 2,
        "config": {
            "static_resources": {
                "listeners": [
                    {
                        "name": ODD,
                        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 80}},
                    }
                ]
            }
        },
    },
    "expect": [
        {"listener": {"name": ODD}, "bound": {"times": 7}, "why": ODD},
        {"listener": {"path": f"/{ODD.replace(chr(0), '')}"}, "bound": {"times": 1}},
        {"never": {"call": "bind"}, "why": ODD},
        {"process": {"live": True}},
    ],
}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with an odd trace, scenario, config and dump, and some that are broken."""
    monkeypatch.chdir(tmp_path)
    trace = odd_trace()
    write_trace(trace, "odd.ndjson")
    config = SCENARIO["envoy"]["config"]
    Path("odd.yaml").write_text(yaml.safe_dump(SCENARIO))
    Path("envoy.yaml").write_text(yaml.safe_dump(config))
    bootstrap = {"@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump"}
    Path("dump.json").write_text(json.dumps({"configs": [{**bootstrap, "bootstrap": config}]}))
    broken = {**SCENARIO, ODD: ODD, "matrix": {ODD: [ODD]}}
    Path("broken.yaml").write_text(yaml.safe_dump(broken))
    Path("broken.ndjson").write_text(Path("odd.ndjson").read_text().replace('"ts":', '"odd":', 1))
    odd_name = ODD.replace("\0", "").replace("/", "")
    Path(f"{odd_name}.yaml").write_text(yaml.safe_dump(SCENARIO))
    Path(f"{odd_name}.ndjson").write_text("no trace")
    Path(f"{odd_name}.txt").write_text(f"hello {ODD}")
    Path(f"{odd_name}.envoy.yaml").write_text(yaml.safe_dump(config))
    return tmp_path


COMMANDS = [
    ["show", "odd.ndjson"],
    ["show", "odd.ndjson", "--format", "json"],
    ["show", "odd.ndjson", "--format", "svg"],
    ["show", "odd.ndjson", "--format", "svg", "--picture", "sequence"],
    ["show", "odd.ndjson", "--format", "mermaid"],
    ["show", "odd.ndjson", "--format", "mermaid", "--picture", "sequence"],
    ["show", "odd.ndjson", "--format", "markdown"],
    ["show", "odd.ndjson", "--format", "perfetto"],
    ["replay", "odd.ndjson", "--scenario", "odd.yaml", "--format", "markdown"],
    ["diff", "odd.ndjson", "plain.ndjson", "--format", "markdown"],
    ["show", "broken.ndjson"],
    ["show", "{odd}.ndjson"],
    ["show", "{odd}.gone"],
    ["replay", "odd.ndjson", "--scenario", "odd.yaml", "--coverage", "--all"],
    ["replay", "odd.ndjson", "--scenario", "odd.yaml", "--format", "json"],
    ["replay", "odd.ndjson", "--scenario", "odd.yaml", "--shrink", "{odd}.few"],
    ["replay", "odd.ndjson", "--scenario", "odd.yaml", "--run", "{odd}"],
    ["diff", "odd.ndjson", "odd.ndjson"],
    ["diff", "odd.ndjson", "odd.ndjson", "--format", "json"],
    ["diff", "odd.ndjson", "plain.ndjson"],
    ["diff", "odd.ndjson", "{odd}.ndjson"],
    ["plan", "--traces", "odd.ndjson", "plain.ndjson"],
    ["plan", "--traces", "odd.ndjson", "plain.ndjson", "--format", "json"],
    ["report", "."],
    ["report", ".", "--scenario", "odd.yaml"],
    ["report", "odd.ndjson", "--format", "json"],
    ["report", ".", "--format", "markdown"],
    ["check", "odd.yaml"],
    ["check", "broken.yaml"],
    ["check", "{odd}.yaml"],
    ["check", "{odd}.gone"],
    ["import", "{odd}.txt", "--concurrency", "2", "-o", "{odd}.imported"],
    ["draft", "envoy.yaml"],
    ["draft", "dump.json"],
    ["draft", "odd.ndjson"],
    ["draft", "{odd}.envoy.yaml"],
    ["draft", "{odd}.txt"],
    ["run", "{odd}", "--launcher", "{odd}"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_command_prints_anything_raw(
    command: list[str], files: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_trace(whole(), "plain.ndjson")
    odd_name = ODD.replace("\0", "").replace("/", "")
    with pytest.raises(SystemExit) as caught:
        main([word.replace("{odd}", odd_name) for word in command])
    done = capfd.readouterr()
    assert done.out + done.err
    assert caught.value.code != 3, done.err
    assert raw_in(done.out) == []
    assert raw_in(done.err) == []


@pytest.mark.parametrize("source", ["envoy.yaml", "dump.json", "odd.ndjson"])
def test_what_draft_writes_has_nothing_raw_and_reads_as_the_same(
    source: str, files: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["draft", source, "-o", "drafted.yaml"])
    said = capfd.readouterr().err
    if caught.value.code:
        assert source == "odd.ndjson", said
    for written in files.glob("drafted*"):
        text = written.read_text(encoding="utf-8")
        assert raw_in(text) == []
        assert yaml.safe_load(text)


@given(st.text())
def test_draft_reads_as_the_text_that_it_is_of(text: str) -> None:
    option = SocketOption("SOL_SOCKET", "SO_BINDTODEVICE", text, "before_bind")
    address = Address("AF_UNIX", abstract=text)
    sockets = SocketSet(
        text, address, "UNIX", 1, "main", 1, "main", "", (), (option,), True, 1, "main", 7
    )
    field = EnvoyField("addresses", [text], text)
    draft = Draft(2, (sockets,), admin=True, closed=True, envoy=(field,), notes=(text,))
    written = draft_text(draft, "odd", {"static_resources": {"name": text}}, text)
    assert raw_in(written) == []
    read = yaml.safe_load(written)
    assert read["name"] == "odd"
    assert read["envoy"]["config"] == {"static_resources": {"name": text}}
    assert read["description"] == f"The sockets of {text}."
    assert any(item.get("listener", {}).get("abstract") == text for item in read["expect"])
    assert read["envoy"]["addresses"] == [text]
    assert set(read) == {"name", "description", "requires", "envoy", "expect"}


def test_annotation_is_one_command() -> None:
    line = workflow_command(Annotation(ODD, 1, ODD, ODD))
    assert "\n" not in line
    assert line.startswith("::error file=")
    assert raw_in(line.removeprefix("::error ")) == []


def test_summary_of_a_job_shows_text_alone() -> None:
    entry = Entry("FAIL", ODD, ODD, ODD, f"first\n{ODD}\nlast")
    assert raw_in(job_summary([ODD, ODD], [entry])) == []


def test_commands_print_by_one_function() -> None:
    """Every command prints by `say`; what is our own alone, coloured or shown already may not."""
    own = {"completion.py", "doctor.py", "output.py", "pictures.py", "schema.py"}
    for path in (PACKAGE / "cli").glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
        if path.name not in own:
            assert not {"click.echo", "click.secho", "print"} & set(calls), path


def test_plugin_prints_nothing_but_text() -> None:
    """Every line that the plugin prints goes through `shown`, but for commands to GitHub."""
    for path in [*(PACKAGE / "pytest_plugin").glob("*.py"), *(PACKAGE / "cli").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".write_line"):
                text = ast.unparse(node.args[0])
                constant = isinstance(node.args[0], ast.Constant)
                assert constant or text.startswith(("shown(", "line")), f"{path}: {text}"


def test_console_takes_commands_from_what_escapes_them_alone() -> None:
    """All else that an output prints is shown by the console."""
    for path in (PACKAGE / "outputs").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert not called.endswith((".write_line", "print")), path
                if called.endswith(".command"):
                    assert ast.unparse(node.args[0]).startswith("workflow_command("), path
