"""Redirecting connections inside Envoy's network namespace (iptables-extensions(8): REDIRECT)."""

from __future__ import annotations

import functools
import ipaddress
import subprocess

from envoyassert.driver.base import Driver
from envoyassert.launch.programs import find_program, run_program
from envoyassert.steps.base import StepProblem, StepResult
from envoyassert.steps.redirect import Redirect, RedirectStep


class RedirectDriver(Driver[RedirectStep]):
    """Redirects connections."""

    step = RedirectStep

    def carry_out(self, step: RedirectStep, deadline_s: float) -> StepResult:
        """Add a rule, and a route without which the kernel would not get as far as the rule.

        Raises:
            StepProblem: a tool is missing, or the kernel refuses it.
        """
        for command in commands(step.redirect):
            name = command[0]
            tool = find_program(name)
            if tool is None:
                raise StepProblem(f"{name} is not installed (apt-get install iptables iproute2)")
            run = functools.partial(run_program, [tool, *command[1:]], deadline_s)
            try:
                done = self.envoy.in_netns(run)
            except (OSError, subprocess.TimeoutExpired) as error:
                raise StepProblem(f"{name}: {error}") from error
            if done.returncode:
                raise StepProblem(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
        return StepResult()


def commands(wanted: Redirect) -> list[list[str]]:
    """Return the commands that redirect, in their order.

    Args:
        wanted: what is redirected.
    """
    address = ipaddress.ip_address(wanted.address)
    version, loopback = (6, "::1") if address.version == 6 else (4, "127.0.0.1")
    iptables = "ip6tables" if version == 6 else "iptables"
    rule = ["-p", "tcp", "-d", str(address), "--dport", str(wanted.port)]
    target = ["-j", "REDIRECT", "--to-ports", str(wanted.to)]
    # The source: without it the kernel finds none for an address that is not the host's own.
    route = [str(address), "dev", "lo", "src", loopback]
    return [
        *([] if address.is_loopback else [["ip", f"-{version}", "route", "replace", *route]]),
        [iptables, "-w", "-t", "nat", "-A", "OUTPUT", *rule, *target],
    ]
