"""A trace that has everything a trace may have."""

from __future__ import annotations

from dataclasses import replace

from envoyassert.accounts import (
    EnvoyAccount,
    EnvoyListener,
    Network,
    NetworkSocket,
    SecondWitness,
    Witness,
    WitnessRegistration,
    WitnessSocket,
)
from envoyassert.addresses import Address
from envoyassert.events import Event
from envoyassert.excerpt import Excerpt
from envoyassert.symbols import ObjectFile, Symbols
from envoyassert.testing import TraceBuilder
from envoyassert.trace import (
    ConnectionAttempt,
    ForeignSocket,
    ListenerRecord,
    Member,
    Trace,
    UpdateResult,
)

PLACE = Address.inet("127.0.0.1", 80)


def whole() -> Trace:
    """Return a trace that has everything a trace may have."""
    record = ListenerRecord("one", "TCP", (PLACE, Address.unix("/run/one"), Address.unix("@one")))
    builder = TraceBuilder(2, listeners=(record,))
    fds = builder.reuse_port_listener(str(PLACE))
    builder.events[-1].stack = ("main+1",)
    account = Witness(
        builder.events[-1].ts_ns + 10,
        tuple(WitnessSocket(1, fd, fd, fd, PLACE, True, True, {"a": 1}) for fd in fds),
        (WitnessRegistration(1, 5, 20, 20, 25),),
        begun_ns=1,
        pid=1000,
        network=Network((NetworkSocket("TCP", PLACE, 7, 8, 0, 128),), 4096, "", {"/run/blue": 1}),
        envoy=EnvoyAccount(1, 2, (EnvoyListener("one", (PLACE,)),), {"server.live": 1}),
        pids=(1000,),
        limits={"net.core.rmem_max": 1},
    )
    builder.end_phase(
        "startup",
        "startup",
        witness=account,
        listeners=(record,),
        attempts=(ConnectionAttempt("TCP", PLACE, True, local=PLACE, end="held"),),
        update=UpdateResult("ack", "1"),
        envoys=(Member("first", 1000, 2, builder.outcome, account),),
        strangers=(ForeignSocket("TCP", PLACE, True, True, 9, 1),),
    )
    trace = builder.build()
    trace.witness = account
    trace.symbols = Symbols({"a": "main"}, {"a": "bind"}, {"b": ObjectFile("/bin/b", "")})
    second = [Event(5, 1, 1, "close", 0, {"fd": 3})]
    trace.second = SecondWitness("strace", 10, ("a line",), second)
    wanted, seen = {"kind": "count", "low": 1}, {"kind": "number", "number": 2}
    excerpt = Excerpt(9, ("expect", 0, "bound"), "bound", wanted, seen)
    trace.header = replace(
        trace.header, excerpt=excerpt, matrix={"a": "b"}, given={"config": "c"}, steps=("one",)
    )
    return trace
