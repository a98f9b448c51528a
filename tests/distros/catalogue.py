"""Which distributions there are, and what `debootstrap` needs to make a root tree of each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Distribution:
    """A release of a distribution.

    Args:
        name: as on the command line: `ubuntu:22.04`.
        suite: its name in the archive: `jammy`.
        components: of the archive; bcc is in `universe` on Ubuntu.
        keyring: name of the file below /usr/share/keyrings with the archive's keys.
        script: of debootstrap's, the one that all newer releases share: an older debootstrap has
            no name for a newer release.
    """

    name: str
    suite: str
    components: str
    keyring: str
    script: str

    @property
    def family(self) -> str:
        """`debian` or `ubuntu`."""
        return self.name.partition(":")[0]

    @property
    def suites(self) -> tuple[str, ...]:
        """Its suites on the main mirror: the release, and what is updated in it."""
        updates = (f"{self.suite}-updates",)
        # The security updates of Debian are on a mirror of their own.
        return (self.suite, *updates, *((f"{self.suite}-security",) * (self.family == "ubuntu")))


def _debian(number: str, suite: str) -> Distribution:
    return Distribution(f"debian:{number}", suite, "main", "debian-archive-keyring.gpg", "sid")


def _ubuntu(number: str, suite: str) -> Distribution:
    keyring = "ubuntu-archive-keyring.gpg"
    return Distribution(f"ubuntu:{number}", suite, "main,universe", keyring, "gutsy")


DISTRIBUTIONS = (
    _debian("12", "bookworm"),
    _debian("13", "trixie"),
    _ubuntu("22.04", "jammy"),
    _ubuntu("24.04", "noble"),
)
#: Whose archive has Ubuntu's keys, where this machine has none: Debian 12 has no such package.
HAS_UBUNTU_KEYS = DISTRIBUTIONS[1]


def distribution(name: str) -> Distribution:
    """Return the distribution of a name.

    Raises:
        ValueError: there is none; says which there are.
    """
    for one in DISTRIBUTIONS:
        if one.name == name:
            return one
    known = ", ".join(one.name for one in DISTRIBUTIONS)
    raise ValueError(f"there is no distribution {name!r} here; there are {known}")
