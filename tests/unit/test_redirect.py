"""The commands that redirect connections, and who accepts what is redirected."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from envoyassert.driver.redirect import RedirectDriver, commands
from envoyassert.steps.base import StepProblem
from envoyassert.steps.redirect import Redirect, RedirectStep


def step(address: str) -> RedirectStep:
    return RedirectStep(redirect=Redirect(address=address, port=443, to=15001))


def driven() -> Any:
    return SimpleNamespace(in_netns=lambda call: call())


@pytest.mark.parametrize(
    ("address", "tool", "routes"),
    [
        ("10.96.0.1", "iptables", ["ip -4 route replace 10.96.0.1 dev lo src 127.0.0.1"]),
        ("fd00::1", "ip6tables", ["ip -6 route replace fd00::1 dev lo src ::1"]),
        ("127.0.0.1", "iptables", []),
    ],
)
def test_commands_route_and_redirect(address: str, tool: str, routes: list[str]) -> None:
    *before, rule = (" ".join(command) for command in commands(step(address).redirect))
    assert before == routes
    assert rule == (
        f"{tool} -w -t nat -A OUTPUT -p tcp -d {address} --dport 443 -j REDIRECT --to-ports 15001"
    )


def test_tool_that_is_missing_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path: None)
    with pytest.raises(StepProblem, match=r"^ip is not installed \(apt-get install iptables"):
        RedirectDriver(driven()).carry_out(step("10.96.0.1"), 1.0)


def test_rule_that_is_refused_is_reported_with_what_the_tool_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    refusing = tmp_path / "iptables"
    refusing.write_text("#!/bin/sh\necho 'table nat is not there' >&2\nexit 3\n", "utf-8")
    refusing.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    envoy = driven()
    with pytest.raises(StepProblem, match="REDIRECT --to-ports 15001: table nat is not there"):
        RedirectDriver(envoy).carry_out(step("127.0.0.1"), 1.0)
