"""Names of the kernel's constants, both ways.

Numbers are those of the generic Linux UAPI (x86-64 and arm64 agree on all of them): socket(2),
ip(7), ipv6(7), tcp(7), udp(7), unix(7), epoll_ctl(2). Envoy's config uses the numbers, people use
the names; both are accepted everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable

FAMILIES = {0: "AF_UNSPEC", 1: "AF_UNIX", 2: "AF_INET", 10: "AF_INET6", 16: "AF_NETLINK"}
FAMILIES |= {17: "AF_PACKET", 40: "AF_VSOCK"}
SOCKET_TYPES = {1: "SOCK_STREAM", 2: "SOCK_DGRAM", 3: "SOCK_RAW", 5: "SOCK_SEQPACKET"}
SOCK_NONBLOCK = 0o4000
SOCK_CLOEXEC = 0o2000000
SOCK_TYPE_MASK = 0xF
IPPROTO_TCP, IPPROTO_UDP, IPPROTO_MPTCP = 6, 17, 262
#: linux/sched.h: a new network namespace, or one that is entered.
CLONE_NEWNET = 0x40000000

LEVELS = {
    0: "IPPROTO_IP",
    1: "SOL_SOCKET",
    6: "IPPROTO_TCP",
    17: "IPPROTO_UDP",
    41: "IPPROTO_IPV6",
    284: "SOL_MPTCP",
}
LEVEL_ALIASES = {
    "SOL_IP": "IPPROTO_IP",
    "SOL_TCP": "IPPROTO_TCP",
    "SOL_UDP": "IPPROTO_UDP",
    "SOL_IPV6": "IPPROTO_IPV6",
}

OPTIONS: dict[str, dict[int, str]] = {
    "SOL_SOCKET": {
        1: "SO_DEBUG",
        2: "SO_REUSEADDR",
        3: "SO_TYPE",
        4: "SO_ERROR",
        5: "SO_DONTROUTE",
        6: "SO_BROADCAST",
        7: "SO_SNDBUF",
        8: "SO_RCVBUF",
        9: "SO_KEEPALIVE",
        10: "SO_OOBINLINE",
        11: "SO_NO_CHECK",
        12: "SO_PRIORITY",
        13: "SO_LINGER",
        14: "SO_BSDCOMPAT",
        15: "SO_REUSEPORT",
        16: "SO_PASSCRED",
        17: "SO_PEERCRED",
        18: "SO_RCVLOWAT",
        19: "SO_SNDLOWAT",
        20: "SO_RCVTIMEO",
        21: "SO_SNDTIMEO",
        22: "SO_SECURITY_AUTHENTICATION",
        23: "SO_SECURITY_ENCRYPTION_TRANSPORT",
        24: "SO_SECURITY_ENCRYPTION_NETWORK",
        25: "SO_BINDTODEVICE",
        26: "SO_ATTACH_FILTER",
        27: "SO_DETACH_FILTER",
        28: "SO_PEERNAME",
        29: "SO_TIMESTAMP",
        30: "SO_ACCEPTCONN",
        31: "SO_PEERSEC",
        32: "SO_SNDBUFFORCE",
        33: "SO_RCVBUFFORCE",
        34: "SO_PASSSEC",
        35: "SO_TIMESTAMPNS",
        36: "SO_MARK",
        37: "SO_TIMESTAMPING",
        38: "SO_PROTOCOL",
        39: "SO_DOMAIN",
        40: "SO_RXQ_OVFL",
        41: "SO_WIFI_STATUS",
        42: "SO_PEEK_OFF",
        43: "SO_NOFCS",
        44: "SO_LOCK_FILTER",
        45: "SO_SELECT_ERR_QUEUE",
        46: "SO_BUSY_POLL",
        47: "SO_MAX_PACING_RATE",
        48: "SO_BPF_EXTENSIONS",
        49: "SO_INCOMING_CPU",
        50: "SO_ATTACH_BPF",
        51: "SO_ATTACH_REUSEPORT_CBPF",
        52: "SO_ATTACH_REUSEPORT_EBPF",
        53: "SO_CNX_ADVICE",
        55: "SO_MEMINFO",
        56: "SO_INCOMING_NAPI_ID",
        57: "SO_COOKIE",
        59: "SO_PEERGROUPS",
        60: "SO_ZEROCOPY",
        61: "SO_TXTIME",
        62: "SO_BINDTOIFINDEX",
        63: "SO_TIMESTAMP_NEW",
        64: "SO_TIMESTAMPNS_NEW",
        65: "SO_TIMESTAMPING_NEW",
        66: "SO_RCVTIMEO_NEW",
        67: "SO_SNDTIMEO_NEW",
        68: "SO_DETACH_REUSEPORT_BPF",
        69: "SO_PREFER_BUSY_POLL",
        70: "SO_BUSY_POLL_BUDGET",
        71: "SO_NETNS_COOKIE",
        72: "SO_BUF_LOCK",
        73: "SO_RESERVE_MEM",
        74: "SO_TXREHASH",
        75: "SO_RCVMARK",
    },
    "IPPROTO_IP": {
        1: "IP_TOS",
        2: "IP_TTL",
        3: "IP_HDRINCL",
        4: "IP_OPTIONS",
        5: "IP_ROUTER_ALERT",
        6: "IP_RECVOPTS",
        7: "IP_RETOPTS",
        8: "IP_PKTINFO",
        9: "IP_PKTOPTIONS",
        10: "IP_MTU_DISCOVER",
        11: "IP_RECVERR",
        12: "IP_RECVTTL",
        13: "IP_RECVTOS",
        14: "IP_MTU",
        15: "IP_FREEBIND",
        16: "IP_IPSEC_POLICY",
        17: "IP_XFRM_POLICY",
        18: "IP_PASSSEC",
        19: "IP_TRANSPARENT",
        20: "IP_RECVORIGDSTADDR",
        21: "IP_MINTTL",
        22: "IP_NODEFRAG",
        23: "IP_CHECKSUM",
        24: "IP_BIND_ADDRESS_NO_PORT",
        25: "IP_RECVFRAGSIZE",
        26: "IP_RECVERR_RFC4884",
        32: "IP_MULTICAST_IF",
        33: "IP_MULTICAST_TTL",
        34: "IP_MULTICAST_LOOP",
        35: "IP_ADD_MEMBERSHIP",
        36: "IP_DROP_MEMBERSHIP",
        37: "IP_UNBLOCK_SOURCE",
        38: "IP_BLOCK_SOURCE",
        39: "IP_ADD_SOURCE_MEMBERSHIP",
        40: "IP_DROP_SOURCE_MEMBERSHIP",
        41: "IP_MSFILTER",
        49: "IP_MULTICAST_ALL",
        50: "IP_UNICAST_IF",
        51: "IP_LOCAL_PORT_RANGE",
        52: "IP_PROTOCOL",
    },
    "IPPROTO_IPV6": {
        1: "IPV6_ADDRFORM",
        2: "IPV6_2292PKTINFO",
        3: "IPV6_2292HOPOPTS",
        4: "IPV6_2292DSTOPTS",
        5: "IPV6_2292RTHDR",
        6: "IPV6_2292PKTOPTIONS",
        7: "IPV6_CHECKSUM",
        8: "IPV6_2292HOPLIMIT",
        9: "IPV6_NEXTHOP",
        10: "IPV6_AUTHHDR",
        11: "IPV6_FLOWINFO",
        16: "IPV6_UNICAST_HOPS",
        17: "IPV6_MULTICAST_IF",
        18: "IPV6_MULTICAST_HOPS",
        19: "IPV6_MULTICAST_LOOP",
        20: "IPV6_ADD_MEMBERSHIP",
        21: "IPV6_DROP_MEMBERSHIP",
        22: "IPV6_ROUTER_ALERT",
        23: "IPV6_MTU_DISCOVER",
        24: "IPV6_MTU",
        25: "IPV6_RECVERR",
        26: "IPV6_V6ONLY",
        27: "IPV6_JOIN_ANYCAST",
        28: "IPV6_LEAVE_ANYCAST",
        29: "IPV6_MULTICAST_ALL",
        30: "IPV6_ROUTER_ALERT_ISOLATE",
        31: "IPV6_RECVERR_RFC4884",
        32: "IPV6_FLOWLABEL_MGR",
        33: "IPV6_FLOWINFO_SEND",
        34: "IPV6_IPSEC_POLICY",
        35: "IPV6_XFRM_POLICY",
        36: "IPV6_HDRINCL",
        49: "IPV6_RECVPKTINFO",
        50: "IPV6_PKTINFO",
        51: "IPV6_RECVHOPLIMIT",
        52: "IPV6_HOPLIMIT",
        53: "IPV6_RECVHOPOPTS",
        54: "IPV6_HOPOPTS",
        55: "IPV6_RTHDRDSTOPTS",
        56: "IPV6_RECVRTHDR",
        57: "IPV6_RTHDR",
        58: "IPV6_RECVDSTOPTS",
        59: "IPV6_DSTOPTS",
        60: "IPV6_RECVPATHMTU",
        61: "IPV6_PATHMTU",
        62: "IPV6_DONTFRAG",
        63: "IPV6_USE_MIN_MTU",
        66: "IPV6_RECVTCLASS",
        67: "IPV6_TCLASS",
        70: "IPV6_AUTOFLOWLABEL",
        72: "IPV6_ADDR_PREFERENCES",
        73: "IPV6_MINHOPCOUNT",
        74: "IPV6_RECVORIGDSTADDR",
        75: "IPV6_TRANSPARENT",
        76: "IPV6_UNICAST_IF",
        77: "IPV6_RECVFRAGSIZE",
        78: "IPV6_FREEBIND",
    },
    "IPPROTO_TCP": {
        1: "TCP_NODELAY",
        2: "TCP_MAXSEG",
        3: "TCP_CORK",
        4: "TCP_KEEPIDLE",
        5: "TCP_KEEPINTVL",
        6: "TCP_KEEPCNT",
        7: "TCP_SYNCNT",
        8: "TCP_LINGER2",
        9: "TCP_DEFER_ACCEPT",
        10: "TCP_WINDOW_CLAMP",
        11: "TCP_INFO",
        12: "TCP_QUICKACK",
        13: "TCP_CONGESTION",
        14: "TCP_MD5SIG",
        16: "TCP_THIN_LINEAR_TIMEOUTS",
        17: "TCP_THIN_DUPACK",
        18: "TCP_USER_TIMEOUT",
        19: "TCP_REPAIR",
        20: "TCP_REPAIR_QUEUE",
        21: "TCP_QUEUE_SEQ",
        22: "TCP_REPAIR_OPTIONS",
        23: "TCP_FASTOPEN",
        24: "TCP_TIMESTAMP",
        25: "TCP_NOTSENT_LOWAT",
        26: "TCP_CC_INFO",
        27: "TCP_SAVE_SYN",
        28: "TCP_SAVED_SYN",
        29: "TCP_REPAIR_WINDOW",
        30: "TCP_FASTOPEN_CONNECT",
        31: "TCP_ULP",
        33: "TCP_FASTOPEN_KEY",
        34: "TCP_FASTOPEN_NO_COOKIE",
        35: "TCP_ZEROCOPY_RECEIVE",
        36: "TCP_INQ",
        37: "TCP_TX_DELAY",
    },
    "IPPROTO_UDP": {
        1: "UDP_CORK",
        100: "UDP_ENCAP",
        101: "UDP_NO_CHECK6_TX",
        102: "UDP_NO_CHECK6_RX",
        103: "UDP_SEGMENT",
        104: "UDP_GRO",
    },
}

EPOLL_OPS = {1: "EPOLL_CTL_ADD", 2: "EPOLL_CTL_DEL", 3: "EPOLL_CTL_MOD"}
EPOLL_EVENTS = {
    0x001: "EPOLLIN",
    0x002: "EPOLLPRI",
    0x004: "EPOLLOUT",
    0x008: "EPOLLERR",
    0x010: "EPOLLHUP",
    0x2000: "EPOLLRDHUP",
    1 << 28: "EPOLLEXCLUSIVE",
    1 << 29: "EPOLLWAKEUP",
    1 << 30: "EPOLLONESHOT",
    1 << 31: "EPOLLET",
}
FCNTL_DUPS = {0: "F_DUPFD", 1030: "F_DUPFD_CLOEXEC"}
TCP_STATES = {
    1: "TCP_ESTABLISHED",
    7: "TCP_CLOSE",
    10: "TCP_LISTEN",
    12: "TCP_NEW_SYN_RECV",
}

#: Names of errno 1 to 132 in order, `-` where there is none. Linux's own, for a trace from Linux is
#: read on other systems too, where the numbers differ.
_ERRNO_NAMES = """\
    EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT
    ENOTBLK EBUSY EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG
    ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY
    ELOOP - ENOMSG EIDRM ECHRNG EL2NSYNC EL3HLT EL3RST ELNRNG EUNATCH ENOCSI EL2HLT EBADE EBADR
    EXFULL ENOANO EBADRQC EBADSLT - EBFONT ENOSTR ENODATA ETIME ENOSR ENONET ENOPKG EREMOTE
    ENOLINK EADV ESRMNT ECOMM EPROTO EMULTIHOP EDOTDOT EBADMSG EOVERFLOW ENOTUNIQ EBADFD EREMCHG
    ELIBACC ELIBBAD ELIBSCN ELIBMAX ELIBEXEC EILSEQ ERESTART ESTRPIPE EUSERS ENOTSOCK
    EDESTADDRREQ EMSGSIZE EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT EOPNOTSUPP
    EPFNOSUPPORT EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH ENETRESET
    ECONNABORTED ECONNRESET ENOBUFS EISCONN ENOTCONN ESHUTDOWN ETOOMANYREFS ETIMEDOUT
    ECONNREFUSED EHOSTDOWN EHOSTUNREACH EALREADY EINPROGRESS ESTALE EUCLEAN ENOTNAM ENAVAIL
    EISNAM EREMOTEIO EDQUOT ENOMEDIUM EMEDIUMTYPE ECANCELED ENOKEY EKEYEXPIRED EKEYREVOKED
    EKEYREJECTED EOWNERDEAD ENOTRECOVERABLE ERFKILL
"""
ERRNOS = {number: name for number, name in enumerate(_ERRNO_NAMES.split(), 1) if name != "-"}
#: Second names of the same numbers, as errno(3) has them.
ERRNO_ALIASES = {"EWOULDBLOCK": "EAGAIN", "EDEADLOCK": "EDEADLK", "ENOTSUP": "EOPNOTSUPP"}

_EVENT_NAMES: dict[int, list[str]] = {}


def errno_name(number: int) -> str:
    """Return the name of a positive errno, or `E<number>` if it has none."""
    return ERRNOS.get(number, f"E{number}")


def family_name(number: int) -> str:
    """Return `AF_INET` for 2, `AF_<number>` for an unknown family."""
    return FAMILIES.get(number, f"AF_{number}")


def epoll_event_names(mask: int) -> list[str]:
    """Return the names of an epoll event mask in ascending bit order, unknown bits as hex.

    The list is shared between calls with the same mask: do not change it.
    """
    known = _EVENT_NAMES.get(mask)
    if known is None:
        known = [name for bit, name in EPOLL_EVENTS.items() if mask & bit]
        rest = mask & ~sum(EPOLL_EVENTS)
        if rest:
            known.append(hex(rest))
        _EVENT_NAMES[mask] = known
    return known


def epoll_mask(names: Iterable[str]) -> int:
    """Return the event mask that `epoll_event_names` gives these names."""
    bits = {name: bit for bit, name in EPOLL_EVENTS.items()}
    return sum(bits[name] if name in bits else int(name, 16) for name in names)


def level_name(level: int | str) -> int | str:
    """Return the canonical name of a socket option level, the number itself if it has no name."""
    if isinstance(level, str):
        return LEVEL_ALIASES.get(level, level)
    return LEVELS.get(level, level)


def option_name(level: int | str, number: int) -> int | str:
    """Return the name of a socket option of a level, the number itself if it has no name."""
    canonical = level_name(level)
    return OPTIONS.get(canonical, {}).get(number, number) if isinstance(canonical, str) else number


def find_option(name: str) -> tuple[str, str] | None:
    """Return (level, name) of an option named without its level, or None if there is none."""
    for level, options in OPTIONS.items():
        if name in options.values():
            return level, name
    return None


#: signal(7): those that end a process, as x86-64 and arm64 number them.
SIGNALS = {
    1: "SIGHUP",
    2: "SIGINT",
    3: "SIGQUIT",
    4: "SIGILL",
    5: "SIGTRAP",
    6: "SIGABRT",
    7: "SIGBUS",
    8: "SIGFPE",
    9: "SIGKILL",
    11: "SIGSEGV",
    13: "SIGPIPE",
    14: "SIGALRM",
    15: "SIGTERM",
    24: "SIGXCPU",
    25: "SIGXFSZ",
    31: "SIGSYS",
}


def signal_text(number: int) -> str:
    """Return the name of a signal, `SIGSEGV`, or `signal 60` for one without a name here."""
    return SIGNALS.get(number, f"signal {number}")


def is_crash(number: int) -> bool:
    """Whether a signal is a fault of the process itself, and not one that ends it from outside."""
    return number not in (1, 2, 9, 15)
