"""Calls that are not what their number or their result says: they are recorded, never misread."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.bpf,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="call numbers of x86-64"),
]

# A function in memory of our own: registers as the 32-bit convention has them, then `int 0x80`.
INT_80 = """
import mmap
code = bytes.fromhex(
    "53"      # push rbx
    "89f8"    # mov eax, edi: the number
    "89f3"    # mov ebx, esi
    "89d1"    # mov ecx, edx
    "31d2"    # xor edx, edx
    "cd80"    # int 0x80
    "5b"      # pop rbx
    "c3"      # ret
)
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(code)
address = ctypes.addressof(ctypes.c_char.from_buffer(page))
int_80 = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int)(address)
"""


def calls(child):
    return [(event.call, event.ret, event.args) for event in child.marked]


def test_call_by_a_32_bit_number_in_code_of_64_bits_is_recorded_once_and_not_misread(trace):
    # 41 is dup() there and socket() here; 6 is close() there and lstat() here.
    child = trace(
        INT_80
        + """
fd = os.open("/dev/null", os.O_RDONLY)
begin()
copy = int_80(41, fd, 0)
gone = int_80(6, copy, 0)
libc.dup(fd)
end(fd=fd, copy=copy, gone=gone)
"""
    )

    reported = child.reported
    assert reported["copy"] > reported["fd"]
    assert reported["gone"] == 0
    assert calls(child) == [
        ("other_table", reported["copy"], {"table": "32-bit", "number": 41}),
        ("dup", reported["copy"], {"fd": reported["fd"]}),
    ]


def test_32_bit_call_that_the_kernel_does_not_know_hides_no_later_one(trace):
    child = trace(
        INT_80
        + """
begin()
int_80(9999, 0, 0)
pid = int_80(20, 0, 0)
end(pid=pid)
"""
    )

    assert child.reported["pid"] > 0
    assert [(ret, args["number"]) for _, ret, args in calls(child)][-1] == (
        child.reported["pid"],
        20,
    )


def test_call_by_a_number_of_x32_is_recorded_as_such(trace):
    child = trace("""
begin()
result = call(0x40000000 | 39)
end(result=result, errno=ctypes.get_errno())
""")

    reported = child.reported
    # Most kernels have no x32: whatever this one says.
    ret = reported["result"] if reported["result"] >= 0 else -reported["errno"]
    assert calls(child) == [("other_table", ret, {"table": "x32", "number": 39})]


def test_ordinary_calls_are_of_no_other_table(trace):
    child = trace(
        """
import signal
signal.signal(signal.SIGALRM, lambda *_: None)
begin()
for _ in range(99):
    os.kill(os.getpid(), signal.SIGALRM)
    os.getppid()
end()
""",
        "/bin/sh",
        "-c",
        'exec "$@"',
        "sh",
    )

    assert "other_table" not in {event.call for event in child.snapshot.events}


STATIC_32 = r"""
void _start(void)
{
    int result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20));
    __asm__ volatile("int $0x80" : : "a"(1), "b"(result > 0 ? 7 : 8));
}
"""


def test_program_of_32_bits_that_the_run_starts_is_recorded(trace, tmp_path: Path):
    source = tmp_path / "program.c"
    source.write_text(STATIC_32)
    flags = ["-m32", "-nostdlib", "-static", "-fno-pic", "-no-pie", "-fno-stack-protector", "-O1"]
    program = tmp_path / "program"
    subprocess.run(["gcc", *flags, "-o", str(program), str(source)], check=True)
    child = trace(f"""
begin()
child = os.fork()
if child == 0: os.execv({str(program)!r}, ["program"])
_, status = os.waitpid(child, 0)
end(child=child, status=os.waitstatus_to_exitcode(status))
""")

    assert child.reported["status"] == 7
    of_child = [event for event in child.marked if event.pid == child.reported["child"]]
    assert [event.call for event in of_child] == [
        "rename",
        "exec",
        "other_table",
        "exit",
    ]
    assert of_child[2].args["table"] == "32-bit"


SECCOMP = """
def program(*returns):
    # Each answers for one call's number; the last one for all others.
    lines = [(0x20, 0, 0, 0)]
    for number, answer in returns[:-1]:
        lines += [(0x15, 0, 1, number), (0x06, 0, 0, answer)]
    lines.append((0x06, 0, 0, returns[-1]))
    code = b"".join(struct.pack("=HBBI", *line) for line in lines)
    kept.append(ctypes.create_string_buffer(code, len(code)))
    kept.append(ctypes.create_string_buffer(
        struct.pack("=HxxxxxxQ", len(lines), ctypes.addressof(kept[-1]))))
    return kept[-1]
kept = []
ALLOW, ERRNO = 0x7fff0000, 0x50000
libc.prctl(38, 1, 0, 0, 0)
"""


def test_seccomp_filter_is_recorded_with_what_it_answers(trace):
    child = trace(
        SECCOMP
        + """
begin()
first = call(317, 1, 0, program((50, ERRNO), (49, ERRNO | 1), ALLOW))
second = libc.prctl(22, 2, program((43, 0x7ff00000), ALLOW))
call(317, 2, 0, None)
libc.prctl(21)
listened = libc.listen(4711, 1)
end(first=first, second=second, listened=listened)
"""
    )

    assert child.reported == {"first": 0, "second": 0, "listened": 0}
    assert calls(child) == [
        ("seccomp", 0, {"answers": ["ALLOW", "ERRNO 0", "ERRNO EPERM"]}),
        ("seccomp", 0, {"answers": ["ALLOW", "TRACE"]}),
        # The kernel has no such descriptor.
        ("listen", 0, {"fd": 4711, "backlog": 1}),
    ]


def test_seccomp_filter_that_is_not_read_to_its_end_has_unknown_answers(trace):
    child = trace(
        SECCOMP
        + """
begin()
done = call(317, 1, 0, program(*[(5000 + n, ERRNO | 1) for n in range(40)], ALLOW))
end(done=done)
"""
    )

    assert child.reported["done"] == 0
    assert calls(child) == [("seccomp", 0, {"answers": None, "truncated": True})]


#: Several messages over a pair of sockets: `pass_on(rights of each)` sends and receives them.
MESSAGES = """
a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
kept = []

def messages(controls):
    made = b""
    for content in controls:
        data = ctypes.create_string_buffer(b"x", 1)
        vector = ctypes.create_string_buffer(struct.pack("QQ", ctypes.addressof(data), 1), 16)
        control = ctypes.create_string_buffer(content, max(len(content), 1))
        kept.extend((data, vector, control))
        place = ctypes.addressof(control) if content else 0
        made += struct.pack(
            "QI4xQQQQI4xQ", 0, 0, ctypes.addressof(vector), 1, place, len(content), 0, 0)
    kept.append(ctypes.create_string_buffer(made, len(made)))
    return kept[-1]

def rights(*fds):
    sent = struct.pack("Qii%di" % len(fds), 16 + 4 * len(fds), 1, 1, *fds)
    return sent + bytes(-len(sent) % 8)

fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(3)]
"""


@pytest.mark.parametrize(
    "controls, passed, truncated",
    [
        ("[rights(fds[0])]", [0], False),
        ("[rights(fds[0], fds[1]), b'', b'']", [0, 1], False),
        ("[b'', b'', rights(fds[0])]", [], True),
        ("[rights(fds[0]), b'', rights(fds[1])]", [0], True),
        ("[b''] * 16", None, False),
        ("[b''] * 17", [], True),
    ],
    ids=["one", "the first", "a later one", "two of them", "none", "more than are looked at"],
)
def test_descriptors_that_travel_with_several_messages_are_recorded(
    trace, controls, passed, truncated
):
    child = trace(f"""{MESSAGES}
controls = {controls}
sending = messages(controls)
room = messages([bytes(64)] * len(controls))
free = [os.dup(0) for _ in range(4)]
for fd in free: os.close(fd)
begin()
sent = call(307, a.fileno(), sending, len(controls), 0)
got = call(299, b.fileno(), room, len(controls), 0, 0)
end(a=a.fileno(), b=b.fileno(), fds=fds, sent=sent, got=got, count=len(controls), free=free)
""")

    reported = child.reported
    assert reported["sent"] == reported["got"] == reported["count"]
    if passed is None:
        assert not calls(child)
        return
    sent = {"fd": reported["a"], "fds": [reported["fds"][index] for index in passed]}
    received = {"fd": reported["b"], "fds": reported["free"][: len(passed)]}
    assert calls(child) == [
        (name, reported["count"], {**args, "truncated": truncated})
        for name, args in (("sendmmsg", sent), ("recvmmsg", received))
    ]


@pytest.mark.parametrize(
    "how, shares",
    [("call(56, 0x400 | 17, 0, 0, 0, 0)", True), ("call(56, 17, 0, 0, 0, 0)", None)],
    ids=["shared", "copied"],
)
def test_process_that_shares_the_descriptors_of_its_parent_is_recorded_as_such(trace, how, shares):
    child = trace(f"""
begin()
child = {how}
if child == 0: os._exit(0)
os.waitpid(child, 0)
end(child=child)
""")

    (fork,) = [event for event in child.marked if event.call == "fork"]
    assert fork.args["child_pid"] == child.reported["child"]
    assert fork.args.get("shares_files") is shares


def test_threads_share_descriptors_and_are_not_marked_for_it(trace):
    child = trace("""
begin()
thread = threading.Thread(target=os.getpid); thread.start(); thread.join()
end()
""")

    (fork,) = [event for event in child.marked if event.call == "fork"]
    assert "shares_files" not in fork.args
    assert fork.args["thread"]
