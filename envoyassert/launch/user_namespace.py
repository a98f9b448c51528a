"""Root in a user namespace of its own: what an ordinary user needs for other namespaces.

In it a process has every capability over what it makes itself (user_namespaces(7)): network and
mount namespaces for Envoy, tracing its own children. Files still belong to the user outside.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from envoyassert.errors import MachineError
from envoyassert.launch.kernel import CLONE_NEWUSER, unshare

_UID_MAP = Path("/proc/self/uid_map")
_REMEDY = (
    "run as root; or allow user namespaces (sysctl -w user.max_user_namespaces=10000 "
    "kernel.apparmor_restrict_unprivileged_userns=0 kernel.unprivileged_userns_clone=1, as far as "
    "this kernel has them)"
)


def become_root() -> None:
    """Make this process root in a new user namespace; nothing if it is root already.

    Must be called before the process has a second thread; what it starts afterwards inherits it.

    Raises:
        MachineError: this machine does not let ordinary users do that.
    """
    user, group = os.geteuid(), os.getegid()
    if user == 0:
        return
    name = _user_name(user)
    try:
        unshare(CLONE_NEWUSER)
        # A group may be mapped only by who has given up changing its groups (user_namespaces(7)).
        Path("/proc/self/setgroups").write_text("deny", "ascii")
        _UID_MAP.write_text(f"0 {user} 1", "ascii")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1", "ascii")
    except OSError as error:
        raise MachineError(
            f"user {user} cannot have a network namespace for Envoy: {error.strerror or error}",
            _REMEDY,
        ) from error
    # Tools that name directories by their user must not take root's.
    if not any(os.environ.get(variable) for variable in ("LOGNAME", "USER", "LNAME", "USERNAME")):
        os.environ["LOGNAME"] = name


def _user_name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def outer_uid() -> int:
    """Return the user id of this process as the machine itself has it."""
    uid = os.getuid()
    try:
        lines = _UID_MAP.read_text("ascii").splitlines()
    except OSError:
        return uid
    for line in lines:
        inside, outside, count = map(int, line.split())
        if inside <= uid < inside + count:
            return outside + uid - inside
    return uid
