"""Which processes are meant, of all that are started on a machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from envoyassert.frozen import frozen

#: What an executable is called where nothing else is said.
ENVOY = "envoy"


@frozen
class ProcessSelection:
    """What a process must be to be recorded; all that is given must hold.

    Args:
        exe: its executable: a path as given to execve(2) if there is a `/` in it, else the last
            part of that path.
        env: `KEY=VALUE` that its environment must hold, each of them.
        uid: its real user id, as the machine's first user namespace sees it; None for any.
        container: the id of its container, or at least the first 12 digits of it; "" for any.
        pod: `NAMESPACE/NAME` of its pod; "" for any.
        pod_uid: the uid of its pod; "" for any.
        cgroup: a cgroup that it is in, or that has the one that it is in: a path below the
            mounted hierarchy, which begins with `/`; "" for any.
    """

    exe: str = ENVOY
    env: tuple[str, ...] = ()
    uid: int | None = None
    container: str = ""
    pod: str = ""
    pod_uid: str = ""
    cgroup: str = ""

    def accepts_executable(self, filename: str) -> bool:
        """Return whether a path as given to execve(2) is the executable that is meant."""
        if "/" in self.exe:
            return filename == self.exe
        return PurePosixPath(filename).name == self.exe

    def accepts_environment(self, environment: Sequence[str]) -> bool:
        """Return whether an environment holds all variables that are meant."""
        return set(self.env) <= set(environment)

    @property
    def needs_place(self) -> bool:
        """Whether it takes the place of a process (container, pod, cgroup) to decide."""
        return bool(self.container or self.pod or self.pod_uid or self.cgroup)

    def anywhere(self) -> ProcessSelection:
        """Return the same wherever the process is."""
        return replace(self, container="", pod="", pod_uid="", cgroup="")

    def in_words(self) -> str:
        """Return what is meant: `envoy with POD=a in the pod web/front`."""
        parts = [self.exe]
        if self.env:
            parts.append("with " + " and ".join(self.env))
        if self.uid is not None:
            parts.append(f"as user {self.uid}")
        places: Mapping[str, str] = {
            "the container": self.container,
            "the pod": self.pod,
            "the pod with uid": self.pod_uid,
            "the cgroup": self.cgroup,
        }
        parts += [f"in {place} {name}" for place, name in places.items() if name]
        return " ".join(parts)
