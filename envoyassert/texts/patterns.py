"""Patterns of calls in words."""

from __future__ import annotations

from envoyassert.scenario.pattern import CallPattern
from envoyassert.scenario.stack import StackPattern


def pattern_words(pattern: CallPattern) -> str:
    """Return a pattern as words: `bind() by main on port 80 failing with EADDRINUSE`."""
    words = [" or ".join(f"{call}()" for call in pattern.calls)]
    if pattern.by is not None:
        words.append(f"by {pattern.by}")
    if pattern.listener is not None:
        words.append(f"on {pattern.listener}")
    if pattern.args:
        words.append("with " + ", ".join(f"{name} {v}" for name, v in pattern.args.items()))
    if pattern.errno is not None:
        words.append(f"failing with {pattern.errno}")
    elif pattern.succeeds is not None:
        words.append("succeeding" if pattern.succeeds else "failing")
    if pattern.stack is not None:
        words.append(stack_words(pattern.stack))
    return " ".join(words)


def stack_words(pattern: StackPattern) -> str:
    """Return `from "Listener::bind"`, or where else a call should come from."""
    if pattern.texts:
        return "from " + " and ".join(f'"{text}"' for text in pattern.texts)
    if pattern.same_as is not None:
        source = pattern.same_as
        words = [f"from where {source.call}()"]
        if source.by is not None:
            words.append(f"by {source.by}")
        if source.listener is not None:
            words.append(f"on {source.listener}")
        if source.errno is not None:
            words.append(f"failing with {source.errno}")
        elif source.succeeds is not None:
            words.append("succeeding" if source.succeeds else "failing")
        return " ".join([*words, "came"])
    sites = {site for build_id in pattern.call_site or () for site in pattern.sites_of(build_id)}
    return f"from call site {' or '.join(sorted(sites))}"
