"""Pages of runs: their weight, how long they take to make and to open, frames a second."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from envoyassert.addresses import Address
from envoyassert.graph.fold import fold
from envoyassert.picture.html.page import run_page
from envoyassert.picture.run import run_picture
from envoyassert.testing import TraceBuilder
from envoyassert.trace import ListenerRecord, Trace
from tests.bench.row import Row
from tests.bench.session import Session
from tests.browser_page import browser, opened

CALLS = (150, 10_000, 100_000)
#: A page of many calls must be drawn at least this often in a second.
FRAMES, MOST_KIB = 30, 400
_WORKERS, _PORTS = 4, range(15001, 15005)

#: Moves over the whole run, one key for each frame, and returns frames a second.
_MOVE = """async (frames) => {
  const canvas = document.getElementById("canvas");
  document.querySelector("[data-do=all]").click();
  const next = () => new Promise(requestAnimationFrame);
  for (let i = 0; i < 5; i++) await next();
  const begin = performance.now();
  for (let i = 0; i < frames; i++) {
    const key = i % 2 ? "ArrowRight" : "ArrowLeft";
    canvas.dispatchEvent(new KeyboardEvent("keydown", { key, shiftKey: true, bubbles: true }));
    await next();
  }
  return (frames * 1000) / (performance.now() - begin);
}"""


def trace_of(calls: int) -> Trace:
    """Return a trace of four listeners and many connections.

    Args:
        calls: how many calls it has, or a few more.
    """
    records = tuple(
        ListenerRecord(f"l{port}", "TCP", (Address.inet("0.0.0.0", port),)) for port in _PORTS
    )
    builder = TraceBuilder(_WORKERS, listeners=records)
    listening = [builder.reuse_port_listener(f"0.0.0.0:{port}") for port in _PORTS]
    number = 0
    while len(builder.events) < calls:
        worker, fd = number % _WORKERS, 100 + number % 500
        peer = Address.inet("127.0.0.1", 20_000 + number % 40_000)
        tid, listener = builder.worker(worker), listening[number % len(listening)][worker]
        builder.call(tid, "accept4", fd, fd=listener, address=peer, flags=["SOCK_NONBLOCK"])
        builder.epoll_add(tid, fd, ("EPOLLIN", "EPOLLET"))
        builder.setsockopt(tid, fd, "TCP_NODELAY", level="IPPROTO_TCP")
        builder.pass_time(1_000 * (1 + number % 37))
        builder.close(tid, fd)
        number += 1
    return builder.build()


def measure(session: Session, line: str, pairs: int) -> Iterator[Row]:
    """Yield weight, time and frames of the pages of a short, a long and a very long trace."""
    with browser() as started:
        for calls in CALLS:
            trace = trace_of(calls)
            file = Path(session.directory, f"{calls}.html")
            made, ready, frames = [], [], []
            for _ in range(pairs):
                begin = time.perf_counter()
                file.write_text(run_page(run_picture(trace, fold(trace))), "utf-8")
                made.append(time.perf_counter() - begin)
                begin = time.perf_counter()
                with opened(started, file) as page:
                    ready.append(time.perf_counter() - begin)
                    frames.append(float(page.evaluate(_MOVE, 60)))
            what = f"page of {calls:,} calls"
            kib = file.stat().st_size / 1024
            yield Row(line, f"{what}: weight", "", (kib,), "KiB", MOST_KIB)
            yield Row(line, f"{what}: made", "", tuple(made), "s")
            yield Row(line, f"{what}: opened and drawn", "", tuple(ready), "s")
            times = tuple(1000 / one for one in frames)
            seen = f"{min(frames):.0f} frames a second at least"
            yield Row(line, f"{what}: a frame", "", times, "ms", 1000 / FRAMES, seen)
