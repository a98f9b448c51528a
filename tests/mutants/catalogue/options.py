"""Socket options, and the admin endpoint's."""

from __future__ import annotations

from errno import ENOPROTOOPT

from tests.mutants.catalogue import words as w
from tests.mutants.mutant import Mutant

_BY_STATE = ("socket_options_by_state",)
_IPV6 = ("ipv6",)
#: Where Envoy has CAP_NET_ADMIN; elsewhere the kernel refuses it.
_TRANSPARENT = ("transparent",)

OPTIONS = tuple(
    Mutant(*fields)
    for fields in (
        ("reuse_port_dropped", "SO_REUSEPORT is not set", f"{w.REUSEPORT} : ok", w.NOT_SHARED),
        ("reuse_port_dropped_second", "SO_REUSEPORT is not set on the second socket", f"{w.REUSEPORT} nth=2 : ok", w.NOT_SHARED),
        ("reuse_port_zero", "SO_REUSEPORT is set to 0", f"{w.REUSEPORT} : value 0 call", w.NOT_SHARED),
        ("reuse_port_late", "SO_REUSEPORT is set after bind", f"{w.REUSEPORT} : hold ; bind : call release", w.OPTION_LATE),
        ("reuse_port_undone", "SO_REUSEPORT is taken away after bind", f"bind : call {w.SET_REUSEPORT} 0", w.OPTION_LOST),
        ("reuse_port_unasked", "SO_REUSEPORT is set on every socket", f"bind : {w.SET_REUSEPORT} 1 call", w.SHARED),
        ("reuse_port_fails", "SO_REUSEPORT is refused", f"{w.REUSEPORT} nth=1 : fail {ENOPROTOOPT}", w.REFUSED),
        ("reuse_addr_dropped", "SO_REUSEADDR is not set", f"{w.REUSEADDR} : ok", w.OPTION_LOST),
        ("reuse_addr_late", "SO_REUSEADDR is set after bind", f"{w.REUSEADDR} : hold ; bind : call release", w.OPTION_LATE),
        ("reuse_addr_for_port", "SO_REUSEPORT is set in place of SO_REUSEADDR", f"{w.REUSEADDR} : arg 2 15 call", w.OPTION_WRONG),
        ("freebind_unasked", "IP_FREEBIND is set on every socket", "bind : set 0 15 1 call", w.OPTION_WRONG),
        ("transparent_unasked", "IP_TRANSPARENT is set on every socket", "bind : set 0 19 1 call", w.OPTION_WRONG, _TRANSPARENT),
        ("v6only_dropped", "the host decides whether IPv6 takes IPv4", f"{w.V6ONLY} : ok", w.OPTION_LOST, _IPV6),
        ("v6only_swapped", "IPv6 takes IPv4 where it must not", f"{w.V6ONLY} : value 0 call", w.EXPOSED, _IPV6),
        ("v6only_everywhere", "IPv4 is shut out", f"{w.V6ONLY} : value 1 call", w.REFUSED, _IPV6),
        ("v6only_late", "IPV6_V6ONLY is set after bind", f"{w.V6ONLY} : hold ; bind : call release", w.OPTION_LATE, _IPV6),
        ("pktinfo_dropped", "the destination of datagrams is not asked for", f"{w.PKTINFO} : ok", w.OPTION_LOST),
        ("overflow_dropped", "the second socket does not count lost datagrams", f"{w.RXQ_OVFL} nth=2 : ok", w.OPTION_LOST),
        ("keepalive_late", "a prebind option is set after bind", f"{w.KEEPALIVE} : hold ; bind : call release", w.OPTION_LATE, _BY_STATE),
        ("keepidle_late", "a bound option is set after listen", f"{w.KEEPIDLE} : hold ; listen : call release", w.OPTION_LATE, _BY_STATE),
        ("keepidle_early", "a bound option is set before bind", "bind : set 6 4 42 call", w.OPTION_WRONG, _BY_STATE),
        ("keepidle_wrong", "an option has another value", f"{w.KEEPIDLE} nth=1 : value 7 call", w.OPTION_WRONG, _BY_STATE),
        ("keepidle_doubled", "an option is set twice", f"{w.KEEPIDLE} nth=1 : call call", w.OPTION_WRONG, _BY_STATE),
        ("keepidle_missing", "an option is not set on the second socket", f"{w.KEEPIDLE} nth=2 : ok", w.OPTION_LOST, _BY_STATE),
        ("defer_accept_dropped", "a listening option is not set", f"{w.DEFER_ACCEPT} nth=1 : ok", w.OPTION_LOST, _BY_STATE),
        ("defer_accept_fails", "a listening option is refused: the listener goes, Envoy stays", f"{w.DEFER_ACCEPT} nth=1 : fail {ENOPROTOOPT}", w.REFUSED, _BY_STATE),
        ("options_swapped", "two options change places", f"{w.KEEPIDLE} : arg 2 9 call ; {w.DEFER_ACCEPT} : arg 2 4 call", w.OPTION_WRONG, _BY_STATE),
        ("admin_shared", "others may share the admin port", f"bind on=admin : {w.SET_REUSEPORT} 1 call", w.SHARED),
        ("admin_option_late", "SO_REUSEADDR of the admin endpoint comes after bind", f"{w.REUSEADDR} on=admin : hold ; bind on=admin : call release", w.OPTION_LATE),
        ("admin_leaked", "the admin socket has a second descriptor", "listen on=admin : call dup", w.LEAK),
        ("admin_twice", "the admin port has a second socket", f"bind on=admin : {w.SET_REUSEPORT} 1 call twin listen 128", w.UNSERVED),
        ("admin_exposed", "the admin endpoint is on every address", "bind on=admin : host 0.0.0.0 call", w.EXPOSED),
        ("admin_by_another", "another thread binds the admin endpoint", "bind on=admin : elsewhere", w.WRONG_THREAD),
    )
)  # fmt: skip
