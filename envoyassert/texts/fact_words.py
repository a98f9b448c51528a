"""The words of facts for which a template is not enough."""

from __future__ import annotations

from envoyassert.durations import duration_in_words
from envoyassert.judge.interval import plural
from envoyassert.judge.values import Fact
from envoyassert.texts.values import listed, text

_FEWER = "for one socket set enable_reuse_port: false"
_MORE = "for a socket per worker set enable_reuse_port: true"
#: The field of a listener that leads to a shape.
FIELDS = {"reuse_port": "enable_reuse_port: true", "dup": "enable_reuse_port: false"}
_SHAPES = {
    "reuse_port": f"{FIELDS['reuse_port']} (the default since Envoy 1.20): a kernel socket per "
    "worker, each with SO_REUSEPORT",
    "dup": f"{FIELDS['dup']}: one kernel socket, dup()ed for each worker",
    "shared_fd": "every worker waits on the same descriptor, as Envoy did up to about 1.18",
}
_OTHERS = {
    "hot_restart": "the abstract Unix sockets are Envoy's own, for hot restart",
    "admin": "one is Envoy's admin endpoint",
}
ANSWERS = {"ack": "accepted", "nack": "refused"}
_NOUNS = {
    "listening_socket": "listening socket",
    "listener_address": "addresses of listeners",
    "static_listener_address": "addresses of static listeners",
}


def looked_at(fact: Fact) -> str:
    """Return on what an invariant was judged: `3 sockets`."""
    noun, number = fact["noun"], fact["number"]
    if not noun:
        return ""
    if noun == "socket_in_epolls":
        return f"{plural(number, 'socket')} in the epolls of workers"
    known = _NOUNS.get(noun, noun)
    return f"{number} {known}" if known.startswith("addresses") else plural(number, known)


def facts_asked(fact: Fact) -> str:
    """Return how much follows from a config, and what of it was not asked."""
    left_out = []
    if fact["excepted"]:
        left_out.append(f"{plural(fact['excepted'], 'fact')} excepted")
    if fact["unknown"]:
        left_out.append(f"not predicted: {listed(fact['unknown'], '; ')}")
    return "; ".join([f"{plural(fact['asked'], 'fact')} asked", *left_out])


def no(wanted: bool) -> str:
    """Return what negates a word, or ""."""
    return "" if wanted else "not "


def more(number: int) -> str:
    """Return ` and 3 more`, or "" for none."""
    return f" and {number} more" if number else ""


def shape(fact: Fact) -> str:
    """Return what a shape means, and how to have the other one if that is the way to go."""
    advice = other_shape(fact)
    return shape_alone(fact) + (f"; {advice}" if advice else "")


def shape_alone(fact: Fact) -> str:
    """Return what a shape means."""
    return _SHAPES[fact["shape"]]


def other_shape(fact: Fact) -> str:
    """Return how to have the other shape if that is the way to go, else ""."""
    advice = {"reuse_port": (_FEWER, "fewer"), "dup": (_MORE, "more")}.get(fact["shape"])
    fits = advice is not None and fact["other"] in (advice[1], "either")
    return advice[0] if advice is not None and fits else ""


def lasts(fact: Fact) -> str:
    """Return `lasts at least 2 s and at most 5 s, tolerance 100 ms`."""
    words = [
        f"{name.replace('_', ' ')} {text(fact.details[name])}"
        for name in ("at_least", "at_most")
        if name in fact.details
    ]
    words_of_it = "lasts " + " and ".join(words)
    if "tolerance" in fact.details:
        words_of_it += f", tolerance {text(fact['tolerance'])}"
    return words_of_it


def span(fact: Fact) -> str:
    """Return a duration, or the two between which it is: `1 ms to 2 ms`."""
    low, high = duration_in_words(fact["low"].ns), duration_in_words(fact["high"].ns)
    return low if low == high else f"{low} to {high}"


def in_relation(fact: Fact) -> str:
    """Return `bind() within 2 s before listen()`."""
    within = fact.details.get("within")
    limit = "" if within is None else f"within {text(within)} "
    return f"{text(fact['first'])} {limit}{fact['word']} {text(fact['second'])}"


def state(fact: Fact) -> str:
    """Return `ingress served by workers`."""
    by = f" by {fact['by']}" if fact["by"] else ""
    return f"{fact['listener'].name or fact['listener']} {fact['becomes']}{by}"


def always(fact: Fact) -> str:
    """Return `always served by workers, but for 5 ms`."""
    words = f"always {no(fact['wanted'])}{fact['state']}"
    if fact["by"]:
        words += f" by {fact['by']}"
    if fact["except_for"] is not None:
        words += f", but for {text(fact['except_for'])}"
    return words


def broken(fact: Fact) -> str:
    """Return `broken for 8 ms: 8 ms at +1 s`."""
    described = ", ".join(f"{text(lasted)} at +{text(after)}" for lasted, after in fact["breaks"])
    return f"broken for {text(fact['total'])}: {described}{more(fact['more'])}"


def of_group(fact: Fact) -> str:
    """Return what was seen of one socket or worker, and for how many that holds."""
    total = fact["total"]
    count = f" ({fact['deciding']} of {total})" if total > 1 else ""
    return f"{text(fact['group'])}: {text(fact['seen'])}{count}"


def variable(fact: Fact) -> str:
    """Return what a variable stands for: `port 80`, `worker_0, worker_1`."""
    noun, names = fact["noun"], fact["names"]
    if not names:
        return f"no {noun}"
    prefix = "port " if noun == "port" else ""
    return ", ".join(f"{prefix}{text(name)}" for name in names) + more(fact["more"])


def variable_to_be(fact: Fact) -> str:
    """Return what a variable must stand for, and who says so."""
    if "before" not in fact.details:
        return f"{fact['name']} to be something"
    return f"{fact['name']} to be {text(fact['before'])} (as in: {text(fact['of'])})"


def attempts(fact: Fact) -> str:
    """Return what happened to clients: `1 of 3 answered (2 ECONNRESET)`."""
    others = [f"{times} {fate}" for fate, times in fact["others"].items()]
    number = fact["number"]
    first = [f"{number} of {fact['total']} {fact['fate']}"] if number or not others else []
    failed = ", ".join(f"{times} {errno}" for errno, times in fact["errors"].items())
    return ", ".join([*first, *others]) + (f" ({failed})" if failed else "")


def spread(fact: Fact) -> str:
    """Return how connections are spread: `12/8 of 20 connections accepted`."""
    numbers = "/".join(map(str, fact["numbers"]))
    words = f"{numbers} of {plural(fact['total'], 'connection')} {fact['of']}"
    if fact["chance"] is not None:
        words += f"; so uneven a spread or a worse one has a chance of {fact['chance']:.2g} at most"
    return words


def other_sockets(fact: Fact) -> str:
    """Return which sockets no expectation names."""
    left_out = fact["left_out"]
    return (listed(fact["sockets"]) or "none") + (f"; {text(left_out)}" if left_out else "")


def of_clients(fact: Fact) -> str:
    """Return which sockets were left out, since they are those of clients."""
    number = fact["number"]
    are, was = ("is", "was") if number == 1 else ("are", "were")
    sockets = plural(number, "datagram socket")
    names = listed(fact["sockets"])
    return f"left out {are} {sockets} that {was} connected to a peer at once: {names}"


def not_named(fact: Fact) -> str:
    """Return what to do about sockets that no expectation names, by their class."""
    hints = []
    if fact["lacking"]:
        what = " and ".join(_OTHERS[name] for name in fact["lacking"])
        allow = ", ".join(fact["allow"])
        hints.append(f"{what}: allow it by `no_others: {{allow: [{allow}]}}`")
    if fact["raw"]:
        hints.append("a raw or packet socket gets what is sent to others, so none may be there")
    if fact["fixed"]:
        names = ", ".join(fact["fixed"])
        hints.append(f"name {names} in a `listener` expectation, or take it out of the config")
    if fact["chosen"]:
        hints.append(
            f"the kernel chose the port of {', '.join(fact['chosen'])}: name its listener by the "
            "name that it has in the config, or take it out of the config"
        )
    return "; ".join(hints)


def socket_of(fact: Fact) -> str:
    """Return `the socket of 0.0.0.0:80`, or `a socket` if it has no address."""
    address = fact["address"]
    return "a socket" if address is None else f"the socket of {address}"


def workers_exist(fact: Fact) -> str:
    """Return `3 worker threads exist, not 2`."""
    wanted = fact.details.get("wanted")
    rather = "" if wanted is None else f", not {wanted}"
    return f"{plural(fact['number'], 'worker thread')} exist{rather}"


def names_and(fact: Fact) -> str:
    """Return whose sockets are reached instead."""
    return " and ".join(map(text, fact["others"]))


def served(fact: Fact) -> str:
    """Return by how many workers something is served."""
    return plural(fact["workers"], "worker")
