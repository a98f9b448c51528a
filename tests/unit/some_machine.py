"""A machine on which runs were made, for tests of results."""

from __future__ import annotations

from envoyassert.report.parts import MachinePart

MACHINE = MachinePart(
    kernel="6.1.0",
    architecture="x86_64",
    system="Debian",
    host="node",
    cpus=2,
    python="3.11",
    envoyassert="0.1.0",
)
