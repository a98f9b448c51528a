"""Labels on containers: which run they belong to, and which process has to remove them."""

from __future__ import annotations

from envoyassert.launch.kernel import Owner

LABEL_RUN = "dev.envoyassert.run"
LABEL_OWNER_PID = "dev.envoyassert.owner-pid"
LABEL_OWNER_START = "dev.envoyassert.owner-start"
LABEL_OWNER_NAMESPACE = "dev.envoyassert.owner-pidns"


def owner_labels(run: str) -> dict[str, str]:
    """Return the labels of everything that this process makes at the engine.

    Args:
        run: id of the run, or "".
    """
    owner = Owner.current()
    return {
        LABEL_RUN: run,
        LABEL_OWNER_PID: str(owner.pid),
        LABEL_OWNER_START: str(owner.start),
        LABEL_OWNER_NAMESPACE: str(owner.namespace),
    }


def label_owner(labels: dict[str, str]) -> Owner | None:
    """Return who made a container, by its labels; None if they do not say."""
    names = (LABEL_OWNER_PID, LABEL_OWNER_START, LABEL_OWNER_NAMESPACE)
    return Owner.parse("-".join(labels.get(name, "") for name in names))
