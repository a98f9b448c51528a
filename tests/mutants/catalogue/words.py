"""Calls that rules often name, and the classes of faults that mutants stand for."""

from __future__ import annotations

import select
import socket

REUSEADDR = f"setsockopt arg1={socket.SOL_SOCKET} arg2={socket.SO_REUSEADDR}"
REUSEPORT = f"setsockopt arg1={socket.SOL_SOCKET} arg2={socket.SO_REUSEPORT}"
KEEPALIVE = f"setsockopt arg1={socket.SOL_SOCKET} arg2={socket.SO_KEEPALIVE}"
RXQ_OVFL = f"setsockopt arg1={socket.SOL_SOCKET} arg2=40"
V6ONLY = f"setsockopt arg1={socket.IPPROTO_IPV6} arg2={socket.IPV6_V6ONLY}"
PKTINFO = f"setsockopt arg1={socket.IPPROTO_IP} arg2=8"
KEEPIDLE = f"setsockopt arg1={socket.IPPROTO_TCP} arg2={socket.TCP_KEEPIDLE}"
DEFER_ACCEPT = f"setsockopt arg1={socket.IPPROTO_TCP} arg2={socket.TCP_DEFER_ACCEPT}"
SET_REUSEPORT = f"set {socket.SOL_SOCKET} {socket.SO_REUSEPORT}"
SET_KEEPALIVE = f"set {socket.SOL_SOCKET} {socket.SO_KEEPALIVE} 1"

ADD = f"epoll_ctl arg1={1}"
DEL = f"epoll_ctl arg1={2}"
IN, OUT, ET, EXCLUSIVE = select.EPOLLIN, select.EPOLLOUT, 1 << 31, 1 << 28

UNSERVED = "a socket listens and no thread accepts: clients hang"
REFUSED = "a listener is missing though Envoy is LIVE: clients are refused"
HALF = "a listener is up for some workers alone"
SHARED = "others take part of the clients of a port"
NOT_SHARED = "workers that should have a socket each do not"
WRONG_PLACE = "the listener is not where the config says"
EXPOSED = "more people can reach a socket than the config says"
WRONG_THREAD = "work of one thread is done by another"
TOO_EARLY = "clients come in before Envoy can serve them"
LEAK = "descriptors pile up"
OUTLIVES = "a socket outlives its listener: clients hang"
OPTION_LOST = "a socket option does not reach the socket"
OPTION_LATE = "a socket option comes when it no longer works"
OPTION_WRONG = "a socket has options that it should not have"
HERD = "workers contend for clients, or one gets all of them"
QUEUE_LOST = "clients that wait in a queue are lost in an update"
CUT_OFF = "clients are connected and not answered"
DIES = "Envoy ends when it should not, or not as it should"
HAND_OVER = "hot restart hands over something else than the sockets"
UNSEEN = "something happens where no probe looks"
