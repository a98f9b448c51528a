#!/usr/bin/env bash
# CPython 3.9 to 3.13: socket.recv_fds() takes flags and passes none of them on.
#
# Behaviour: recv_fds(sock, bufsize, maxfds, flags) calls sock.recvmsg() without the flags. So
#   MSG_CMSG_CLOEXEC has no effect, and the descriptors are inherited by every program that the process
#   starts. MSG_PEEK takes the message. The function's documentation refers to recvmsg() for them.
# Guessed: the flags reach recvmsg(), as those of send_fds() reach sendmsg().
# Seen on 2026-11-28, with 3.9.18, 3.10.13, 3.11.2, 3.11.7, 3.12.1 and 3.13.0:
#   recvmsg close-on-exec: 1
#   recv_fds close-on-exec: 0
#   recv_fds after MSG_PEEK: the message is gone
set -euo pipefail

python3 -c 'import socket; socket.recv_fds, socket.MSG_CMSG_CLOEXEC' 2>/dev/null || exit 2
seen=$(
    timeout 20 python3 - <<'PYTHON'
import array
import fcntl
import os
import socket

ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
theirs.setblocking(False)
sent, _ = os.pipe()


def closes(fd):
    return fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC


socket.send_fds(ours, [b"x"], [sent])
_, parts, _, _ = theirs.recvmsg(10, socket.CMSG_LEN(4), socket.MSG_CMSG_CLOEXEC)
print("recvmsg close-on-exec:", closes(array.array("i", parts[0][2])[0]))
socket.send_fds(ours, [b"x"], [sent])
_, descriptors, _, _ = socket.recv_fds(theirs, 10, 1, socket.MSG_CMSG_CLOEXEC)
print("recv_fds close-on-exec:", closes(descriptors[0]))
socket.send_fds(ours, [b"x"], [sent])
socket.recv_fds(theirs, 10, 1, socket.MSG_PEEK)
try:
    theirs.recv(10)
    print("recv_fds after MSG_PEEK: the message is there")
except BlockingIOError:
    print("recv_fds after MSG_PEEK: the message is gone")
PYTHON
)
echo "$seen"
[ "$seen" = "recvmsg close-on-exec: 1
recv_fds close-on-exec: 0
recv_fds after MSG_PEEK: the message is gone" ]
