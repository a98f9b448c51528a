"""One probe for all workers of a session, whoever of them ends, and when."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from envoyassert.live.selection import ProcessSelection
from envoyassert.probe import Probe, new_run_id
from envoyassert.probe.program import SLOTS
from envoyassert.probe.sharing import READERS, Offer, join
from tests.bpf.conftest import CHILD_S, DRAIN_S, TARGET, run_python, start
from tests.bpf.kernel_objects import exists

pytestmark = [pytest.mark.bpf, pytest.mark.usefixtures("require_bpf")]

#: A worker: it does what its standard input says, and answers with a line.
WORKER = """
import json, sys
from pathlib import Path
from envoyassert.live.selection import ProcessSelection
from envoyassert.probe import Probe, new_run_id
from tests.bpf.conftest import DRAIN_S, run_python

def ids(kind):
    for info in Path("/proc/self/fdinfo").iterdir():
        for line in info.read_text().splitlines() if info.exists() else ():
            name, _, value = line.partition(":")
            if name == kind:
                yield int(value)

probe, arm = None, None
for line in sys.stdin:
    word, *arguments = line.split()
    answer = None
    if word == "load":
        probe = Probe.load(ring_pages=64, session=arguments[0])
        answer = {"programs": sorted(set(ids("prog_id"))), "maps": sorted(set(ids("map_id")))}
    elif word == "arm":
        arm = probe.arm(new_run_id())
    elif word == "record":
        for backlog in arguments:
            run_python(f"libc.listen(-1, {backlog})", arm.run_id)
        arm.drain(DRAIN_S)
        snapshot = arm.snapshot()
        events = [event for event in snapshot.events if event.call == "listen"]
        assert snapshot.drained
        answer = [event.args["backlog"] for event in events]
    elif word == "runs":
        answer = []
        for number in range(int(arguments[0])):
            with probe.arm(new_run_id()) as one:
                run_python(f"libc.listen(-1, {number})", one.run_id)
                one.drain(DRAIN_S)
                answer += [e.args["backlog"] for e in one.snapshot().events if e.call == "listen"]
    elif word == "armed":
        answer = [int.from_bytes(probe._program.armed.get(n.to_bytes(4, sys.byteorder)),
                                 sys.byteorder) for n in (256, 257)]
    elif word == "disarm":
        arm.disarm()
    elif word == "close":
        probe.close()
    print(json.dumps(answer), flush=True)
"""


class Worker:
    """A process that shares the probe of a session."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def begin(self, *words: object) -> None:
        assert self.process.stdin is not None
        print(*words, file=self.process.stdin, flush=True)

    def end(self):
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def do(self, *words: object):
        self.begin(*words)
        return self.end()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def session() -> str:
    return secrets.token_hex(16)


@pytest.fixture
def workers():
    """Return a function that starts workers; all of them are ended."""
    made: list[Worker] = []

    def start_workers(number: int) -> list[Worker]:
        made.extend(Worker() for _ in range(number))
        return made[-number:]

    yield start_workers
    for worker in made:
        worker.kill()


def all_at_once(workers: list[Worker], *words: object) -> list:
    for worker in workers:
        worker.begin(*words)
    return [worker.end() for worker in workers]


def wait_until_gone(programs: list[int]) -> list[int]:
    """Return the programs that the kernel still has after a while."""
    end = time.monotonic() + CHILD_S
    while (left := [n for n in programs if exists("program", n)]) and time.monotonic() < end:
        time.sleep(0.01)
    return left


def test_workers_use_one_program_and_each_gets_its_own_records(workers, session):
    three = workers(3)
    first, *others = all_at_once(three, "load", session)
    assert all(other["programs"] == first["programs"] for other in others)
    all_at_once(three, "arm")
    for number, worker in enumerate(three):
        worker.begin("record", *range(100 * number, 100 * number + 20))
    for number, worker in enumerate(three):
        assert worker.end() == list(range(100 * number, 100 * number + 20))


def test_runs_that_begin_and_end_at_once_are_all_recorded_and_counted(workers, session):
    four = workers(4)
    all_at_once(four, "load", session)
    assert all_at_once(four, "runs", 25) == [list(range(25))] * 4
    assert four[0].do("armed") == [0, 0]
    four[1].do("arm")
    assert four[2].do("armed") == [1, 1]
    four[1].do("disarm")
    assert four[3].do("armed") == [0, 0]


@pytest.mark.parametrize("how", ["kill", "close"])
def test_program_outlives_the_worker_that_loaded_it_and_goes_with_the_last(workers, session, how):
    first, second, third = workers(3)
    loaded = first.do("load", session)
    assert second.do("load", session)["programs"] == loaded["programs"]
    second.do("arm")
    assert second.do("record", 1, 2) == [1, 2]
    if how == "kill":
        first.kill()
    else:
        first.do("close")
    assert second.do("record", 3) == [1, 2, 3]
    # No one gives the program away any more: this one loads its own.
    other = third.do("load", session)
    assert not set(other["programs"]) & set(loaded["programs"])
    third.do("arm")
    assert third.do("record", 4) == [4]
    assert all(exists("program", number) for number in loaded["programs"])
    second.kill()
    assert wait_until_gone(loaded["programs"]) == []
    assert third.do("record", 5) == [4, 5]


def test_worker_that_is_killed_takes_nothing_from_the_others(workers, session):
    first, second = workers(2)
    all_at_once([first, second], "load", session)
    all_at_once([first, second], "arm")
    first.begin("runs", 1000)
    assert second.do("record", 1, 2) == [1, 2]
    first.kill()
    assert second.do("record", 3, 4) == [1, 2, 3, 4]


def test_worker_whose_first_one_cannot_load_loads_itself(workers, session):
    offer = join(session)
    assert isinstance(offer, Offer)
    (worker,) = workers(1)
    worker.begin("load", session)
    # As when loading failed: whoever waits is sent away, and loads.
    offer.close()
    assert worker.end()["programs"]


#: Asks for the program with room for few files; says what it got, and how many it has open.
FEW_FILES = """
import os, resource, sys
from envoyassert.probe.sharing import join
resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))
before = os.listdir("/proc/self/fd")
print(join(sys.argv[1]), os.listdir("/proc/self/fd") == before)
"""


def test_worker_that_may_not_open_enough_files_is_left_to_itself(session):
    """Loading for itself says what is wrong, with the remedy."""
    offer = join(session)
    assert isinstance(offer, Offer)
    with Path(os.devnull).open() as file:
        offer.open({"maps": {str(number): file.fileno() for number in range(30)}})
        done = subprocess.run(
            [sys.executable, "-c", FEW_FILES, session], capture_output=True, text=True, check=False
        )
        offer.close()
    assert (done.stdout, done.stderr) == ("None True\n", "")


def test_more_workers_than_rings_use_a_second_program(session):
    probes = [Probe.load(ring_pages=16, session=session) for _ in range(READERS + 1)]
    try:
        slots = [probe._program.slots for probe in probes]
        assert sorted(n for some in slots[:-1] for n in some) == list(range(SLOTS))
        assert slots[-1] == slots[0]
        arms = [probe.arm(new_run_id()) for probe in probes]
        for number, arm in enumerate(arms):
            run_python(f"libc.listen(-1, {number})", arm.run_id)
        for number, arm in enumerate(arms):
            arm.drain(DRAIN_S)
            events = arm.snapshot().events
            assert [e.args["backlog"] for e in events if e.call == "listen"] == [number]
    finally:
        for probe in probes:
            probe.close()


def test_other_users_get_nothing_and_give_nothing(session):
    probe = Probe.load(ring_pages=16, session=session)
    code = f"""
import os, socket
os.setresuid(65534, 65534, 65534)
one = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
one.settimeout({CHILD_S})
one.connect(b"\\0envoyassert-0-{session}")
print(socket.recv_fds(one, 100, 100)[:2])
"""
    with probe:
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            timeout=CHILD_S,
            check=True,
        )
        assert done.stdout == "(b'', [])\n"
        # The next one is still served.
        with Probe.load(ring_pages=16, session=session) as second:
            assert second._program.slots != probe._program.slots
    # Where another user has taken the name, the worker loads one for itself.
    squatter = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with squatter:
        squatter.bind(f"\0envoyassert-{os.geteuid()}-{session}".encode())
        os.seteuid(65534)
        try:
            squatter.listen()
        finally:
            os.seteuid(0)
        assert join(session) is None
        with Probe.load(ring_pages=16, session=session) as alone:
            assert len(alone._program.slots) == SLOTS


def test_selections_of_a_worker_are_its_own(session, program):
    with (
        Probe.load(ring_pages=16, session=session) as first,
        Probe.load(ring_pages=16, session=session) as second,
        first.select(ProcessSelection(TARGET)) as selected,
        second.select(ProcessSelection(f"{TARGET}-b")) as other,
    ):
        start(program(TARGET), 1)
        start(program(f"{TARGET}-b"), 2)
        assert (len(selected.poll()), len(other.poll())) == (1, 1)
        with pytest.raises(RuntimeError, match="other workers"):
            first.measure_cost()


def test_descriptors_of_a_worker_are_not_inherited(session):
    with (
        Probe.load(ring_pages=16, session=session),
        Probe.load(ring_pages=16, session=session),
    ):
        left = subprocess.run(
            ["ls", "-l", "/proc/self/fd"],
            close_fds=False,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    assert "bpf" not in left
    assert "perf_event" not in left
    assert "envoyassert-armed" not in left


WORKERS_TEST = """
import json, os, time
from pathlib import Path
import pytest

@pytest.mark.parametrize("number", range(3))
def test_loads(socket_probe, number):
    place = Path(os.environ["PLACE"])
    functions = socket_probe._program._loaded.functions.values()
    ids = [line.split()[1] for fd in functions
           for line in Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines()
           if line.startswith("prog_id:")]
    (place / os.environ["PYTEST_XDIST_WORKER"]).write_text(json.dumps(sorted(ids)))
    end = time.monotonic() + 60
    while len(list(place.iterdir())) < 3:
        assert time.monotonic() < end
        time.sleep(0.01)
"""


def test_workers_of_xdist_use_one_program(tmp_path):
    (tmp_path / "test_it.py").write_text(WORKERS_TEST)
    place = tmp_path / "place"
    place.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "3", "-p", "no:cacheprovider", "test_it.py"],
        cwd=tmp_path,
        env={**os.environ, "PLACE": str(place)},
        capture_output=True,
        text=True,
        timeout=3 * CHILD_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    found = [file.read_text() for file in place.iterdir()]
    assert len(found) == 3
    assert len(set(found)) == 1
