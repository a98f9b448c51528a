"""Prove what Envoy does with its listening sockets.

    scenario YAML -> plan -> a real Envoy (docker | process), traced from its first instruction
    bytes of the ring -> events -> trace (a file can hold it) -> socket graph
    graph + expectations -> findings -> verdict (PASS, FAIL, INCONCLUSIVE) -> text, JSON, pytest

From the trace on, everything is pure and runs anywhere: see `envoyassert.trace`, `.graph`, `.judge`
and `.report`. What touches the world is in `.probe`, `.launch`, `.witness` and `.runner`; what
people use is in `.pytest_plugin`, `.asserts` and `.cli`.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
