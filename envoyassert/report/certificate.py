"""The certificate for people: one line where it is whole, every check where it is not."""

from __future__ import annotations

from collections.abc import Iterable

from envoyassert.judge.interval import plural
from envoyassert.judge.verdict import Certificate
from envoyassert.report.table import WIDTH, columns

_MARKS = {True: "ok", False: "MISSING", None: "n/a"}


def certificate_line(certificate: Certificate) -> str:
    """Return what is known of a trace's completeness in one line."""
    if certificate.missing:
        from envoyassert.texts.facts import text

        missing = "; ".join(f"{check.name}: {text(check.found)}" for check in certificate.missing)
        return f"NOT whole ({missing})"
    held = [check for check in certificate.checks if check.ok]
    if not held:
        return "no check applies to this trace"
    silent = ", ".join(check.name for check in certificate.checks if check.ok is None)
    holds = "holds" if len(held) == 1 else "hold"
    more = f"; not applicable: {silent}" if silent else ""
    return f"whole ({plural(len(held), 'check')} {holds}{more})"


def certificate_lines(certificate: Certificate) -> list[str]:
    """Return a line per check: whether it holds, and what was found."""
    from envoyassert.texts.facts import text

    rows = [(check.name, check.ok, text(check.found)) for check in certificate.checks]
    return check_lines(rows)


def check_lines(checks: Iterable[tuple[str, bool | None, str]], width: int = WIDTH) -> list[str]:
    """Return a line per check of its name, whether it holds, and what was found."""
    rows = [[_MARKS[ok], name, detail] for name, ok, detail in checks]
    return columns(rows, "  ", width) or ["  no checks were made"]


def certificate_part(certificate: Certificate, full: bool = False) -> list[str]:
    """Return the part of a text that a certificate has: one line, or every check.

    Args:
        certificate: what is known of the trace.
        full: show every check though the certificate is whole.
    """
    if certificate.whole and not full:
        return [f"certificate: {certificate_line(certificate)}"]
    state = "whole" if certificate.whole else "NOT whole"
    return [f"certificate: {state}", *certificate_lines(certificate)]


def certificates_lines(are_whole: Iterable[bool]) -> list[str]:
    """Return the certificates of a session in one line, none if there are none.

    Args:
        are_whole: of each run whether its certificate is whole.
    """
    found = list(are_whole)
    if not found:
        return []
    whole = sum(found)
    rest = len(found) - whole
    return [f"certificates: {whole} whole" + (f", {rest} NOT whole" if rest else "")]
