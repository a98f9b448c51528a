"""Stacks: whether a call came from where a pattern says, as far as the trace shows.

What is not known of a stack makes a match possible, never sure: a frame without a name, callers
further out than those recorded, a stack that was not recorded at all, a direct caller of the C
library that has no frame. A function that was inlined, or that left its frame to another by a tail
call, is not on the stack.
"""

from __future__ import annotations

from collections.abc import Mapping

from envoyassert.events import Event
from envoyassert.judge.context import Context, StackMatch
from envoyassert.judge.near import Mismatch
from envoyassert.judge.values import Fact, Quote
from envoyassert.scenario.stack import StackPattern
from envoyassert.symbols import DEPTH, call_site, is_cut, split_frame, stack_is_own

#: What calls main() or the function of a thread, by glibc's and musl's names. A C library without
#: symbols does not name them, and nothing else of it is that far out.
_STARTERS = (
    *("_start", "_start_c", "__libc_start_main", "__libc_start_main_impl"),
    *("__libc_start_call_main", "libc_start_main_stage2", "start", "start_thread"),
    *("clone", "__clone", "clone3", "__clone3"),
)


#: Call sites, and whether each is sure; None for one that is not known.
CallSites = Mapping[str | None, bool]


def match_stack(
    context: Context, pattern: StackPattern, event: Event, others: CallSites
) -> StackMatch:
    """Return whether a call came from where a pattern says.

    Args:
        context: the trace.
        pattern: from where it should come.
        event: the call.
        others: the call sites that `same_as` stands for.
    """
    if not event.stack:
        return StackMatch(None, reason=Fact("stack_unrecorded", call=event.call))
    if not stack_is_own(event):
        return StackMatch(None, reason=Fact("stack_of_earlier_call"))
    if pattern.texts:
        return _named(context, pattern.texts, event)
    site = call_site(event)
    if site is None:
        return StackMatch(None, reason=Fact("stack_without_files", call=event.call))
    build_id, name = site
    if pattern.call_site is not None:
        sites = pattern.sites_of(build_id)
        if not sites:
            return StackMatch(
                None, reason=Fact("build_id_not_listed", build_id=build_id), skipped=True
            )
        return StackMatch(name in sites, Mismatch("call_site", name, tuple(sites)))
    if name in others:
        return (
            StackMatch(True) if others[name] else StackMatch(None, reason=Fact("whose_call_site"))
        )
    if not others or None in others:
        return StackMatch(None, reason=Fact("call_sites_unknown"))
    return StackMatch(False, Mismatch("same_as", name, tuple(map(str, others))))


def _named(context: Context, texts: tuple[str, ...], event: Event) -> StackMatch:
    symbols = context.trace.symbols
    names = symbols.functions_of(event.stack)
    absent = [text for text in texts if not any(text in name for name in names)]
    if not absent:
        return StackMatch(True)
    inner = event.stack
    if not any(text in starter for starter in _STARTERS for text in absent):
        inner = _without_starters(event.stack)
    lacking = [problem for frame in inner if (problem := symbols.problem_of(frame))]
    if lacking:
        return StackMatch(
            None, reason=Fact("symbols_missing", said=Quote(lacking[0])), skipped=True
        )
    if not all(map(symbols.name_of, inner)):
        return StackMatch(None, reason=Fact("frame_without_name", call=event.call))
    if len(event.stack) < 2 or event.stack[1] not in symbols.callees:
        return StackMatch(None, reason=Fact("caller_unknown", call=event.call))
    if is_cut(event):
        return StackMatch(None, reason=Fact("stack_cut", depth=DEPTH))
    return StackMatch(False, Mismatch("stack", tuple(names), absent[0]))


def _without_starters(stack: tuple[str, ...]) -> tuple[str, ...]:
    """Return a stack without the C library's frames at its outer end.

    The C library is the file in which the call itself stands.
    """
    library = split_frame(stack[0])[0]
    end = len(stack)
    while library and end and split_frame(stack[end - 1])[0] == library:
        end -= 1
    return stack[:end] or stack
