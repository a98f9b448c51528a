"""Drafts of Envoys that run: of a live admin endpoint, and of a state."""

from __future__ import annotations

import http.server
import json
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar

import pytest
import yaml

from envoyassert.trace_file import write_trace
from tests.unit.cli_words import Done, run_cli
from tests.unit.states import state_at_end
from tests.unit.test_cli_draft import dump, listener
from tests.unit.words.judged import trace_of

DUMP = dump(listener("in", 15006))


@pytest.fixture
def cli(capsys, monkeypatch, tmp_path) -> Callable[..., Done]:
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: run_cli(capsys, *arguments)


class Admin(http.server.BaseHTTPRequestHandler):
    """An admin endpoint, and one behind a proxy that has it at another path."""

    info: ClassVar[str | None] = json.dumps({"command_line_options": {"concurrency": 5}})

    def do_GET(self) -> None:
        asked = self.path.removeprefix("/pods/a/proxy").partition("?")[0]
        pages = {"/config_dump": DUMP, "/server_info": self.info}
        page = pages.get(asked)
        body = (page or "not found").encode()
        self.send_response(404 if page is None else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


class OnPath(socketserver.UnixStreamServer):
    """The same behind a Unix socket, which has no address to be shown."""

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        return super().get_request()[0], ("", 0)


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("path", ["", "/", "/config_dump"])
def test_live_dump_is_drafted_as_the_same_in_a_file(cli, tmp_path, path) -> None:
    (tmp_path / "config_dump").write_text(DUMP)
    assert cli("draft", "config_dump", "--concurrency", 5, "-o", "saved.yaml").code == 0
    server = http.server.HTTPServer(("127.0.0.1", 0), Admin)
    with serving(server):
        done = cli("draft", f"http://127.0.0.1:{server.server_port}{path}", "-o", "live.yaml")
    assert (done.code, done.out) == (0, "wrote live.envoy.yaml\nwrote live.yaml\n")
    saved, live = (yaml.safe_load((tmp_path / f"{n}.yaml").read_text()) for n in ("saved", "live"))
    assert live["expect"] == saved["expect"]


def test_admin_behind_a_unix_socket_is_asked(cli, tmp_path) -> None:
    with serving(OnPath("admin.sock", Admin)):
        done = cli("draft", "unix:admin.sock")
    assert done.code == 0
    assert "port: 15006" in done.out


@pytest.mark.parametrize(
    "path", ["", "/config_dump?include_eds", "/pods/a/proxy/config_dump?resource=dynamic_listeners"]
)
def test_live_draft_has_the_concurrency_of_the_envoy_that_runs(cli, path) -> None:
    server = http.server.HTTPServer(("127.0.0.1", 0), Admin)
    with serving(server):
        source = f"http://127.0.0.1:{server.server_port}{path}"
        done = cli("draft", source)
        asked = cli("draft", source, "--concurrency", 3)
    written = yaml.safe_load(done.out)
    assert written["envoy"]["concurrency"] == 5
    assert [one["bound"]["times"] for one in written["expect"][:3]] == [1, 5, 5]  # admin first
    assert "# Note: the Envoy that runs has concurrency 5, by /server_info." in done.out
    assert yaml.safe_load(asked.out)["envoy"]["concurrency"] == 3
    assert "/server_info" not in asked.out


@pytest.mark.parametrize(
    "info, said",
    [
        (None, "/server_info is answered with status 404"),  # `allow_paths` of the admin endpoint
        ("{}", "/server_info does not say it"),
        ("no JSON", "/server_info does not say it"),
        ("[" * 100_000, "/server_info does not say it"),
        ('{"command_line_options": {"concurrency": true}}', "/server_info does not say it"),
        ('{"command_line_options": {"concurrency": "4"}}', "/server_info does not say it"),
        ('{"command_line_options": {"concurrency": 4096}}', "/server_info does not say it"),
    ],
)
def test_live_draft_says_where_the_concurrency_is_assumed(cli, monkeypatch, info, said) -> None:
    monkeypatch.setattr(Admin, "info", info)
    server = http.server.HTTPServer(("127.0.0.1", 0), Admin)
    with serving(server):
        done = cli("draft", f"http://127.0.0.1:{server.server_port}/config_dump")
    assert yaml.safe_load(done.out)["envoy"]["concurrency"] == 2
    note = f"the concurrency of this Envoy is not known ({said}): --concurrency says it"
    assert done.err == f"note: {note}\n"
    assert f"# Note: {note}." in done.out


@pytest.mark.parametrize(
    "source, said",
    [
        ("https://127.0.0.1/config_dump", "only http:// and unix: are asked"),
        ("ftp://127.0.0.1/", "only http:// and unix: are asked"),
        ("http:///config_dump", "only http:// and unix: are asked"),
        ("http://127.0.0.1:port/", "no address"),
        ("http://[::1/", "no address"),
        ("http://127.0.0.1:1/", "no admin endpoint answers: Connection refused"),
        ("unix:/nowhere/admin.sock", "no admin endpoint answers: No such file or directory"),
    ],
)
def test_live_source_that_does_not_answer_is_one_error(cli, source, said) -> None:
    done = cli("draft", source)
    assert (done.code, done.out) == (4, "")
    assert done.err.startswith(f"{source}: error: {said}")
    assert len(done.err.splitlines()) == 1


def test_live_source_with_another_answer_is_one_error(cli, monkeypatch) -> None:
    server = http.server.HTTPServer(("127.0.0.1", 0), Admin)
    with serving(server):
        place = f"http://127.0.0.1:{server.server_port}"
        other = cli("draft", f"{place}/stats")
        monkeypatch.setattr("envoyassert.cli.draft.MAX_DUMP_BYTES", 100)
        large = cli("draft", place)
    assert (other.code, other.out) == (4, "")
    assert other.err == (
        f"{place}/stats: error: status 404 (ask Envoy's admin endpoint for /config_dump)\n"
    )
    assert (large.code, large.out) == (4, "")
    assert "the reply has more than 0 MiB" in large.err


def test_source_is_named_once(cli) -> None:
    assert "name a config, a dump, a trace" in cli("draft").err
    assert "leave out the rest" in cli("draft", "envoy.yaml", "--pid", "1").err
    assert cli("draft", "nowhere.yaml").code == 4


@pytest.mark.parametrize("name", ["shared", "reuse", "with_admin"])
def test_draft_of_a_state_expects_a_start_that_leads_there(cli, tmp_path, name) -> None:
    state = state_at_end(trace_of(name))
    assert state is not None
    write_trace(state, tmp_path / "state.ndjson")
    assert cli("draft", "state.ndjson", "-o", "seen.yaml").code == 0
    written = yaml.safe_load((tmp_path / "seen.yaml").read_text())
    bound = written["expect"][0]["bound"]
    assert bound == {"times": 2 if name == "reuse" else 1, "by": "main"}
    # By the state itself nothing of it is wrong, and what needs the start is open.
    assert cli("replay", "state.ndjson", "--scenario", "seen.yaml").code == 10


def test_draft_of_a_state_says_where_a_start_makes_other_sockets(cli, tmp_path) -> None:
    state = state_at_end(trace_of("one_socket_left"))
    assert state is not None
    write_trace(state, tmp_path / "state.ndjson")
    done = cli("draft", "state.ndjson")
    assert done.code == 0
    assert "now, a start makes" in done.out


def test_config_goes_with_no_state(cli, tmp_path) -> None:
    state = state_at_end(trace_of("shared"))
    assert state is not None
    write_trace(state, tmp_path / "state.ndjson")
    (tmp_path / "envoy.yaml").write_text(json.dumps({"static_resources": {}}))
    done = cli("draft", "state.ndjson", "--config", "envoy.yaml")
    assert done.code == 4
    assert "--config means nothing beside a state" in done.err


def test_state_is_not_compared_with_a_run(cli, tmp_path) -> None:
    state = state_at_end(trace_of("shared"))
    assert state is not None
    write_trace(state, tmp_path / "state.ndjson")
    write_trace(trace_of("shared"), tmp_path / "run.ndjson")
    for sides in (("state.ndjson", "run.ndjson"), ("run.ndjson", "state.ndjson")):
        for command, code in ((["diff"], 2), (["plan", "--traces"], 2)):
            done = cli(*command, *sides)
            assert (done.code, done.out) == (code, "")
            assert done.err.startswith("state.ndjson: error: a state has no history")
    done = cli("report", ".")
    assert done.code == 4
    assert done.err.startswith("state.ndjson: error: a state has no history")
    assert "1 trace" in done.out
