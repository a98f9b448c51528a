"""How names are looked up where no server can be reached."""

from __future__ import annotations

import pytest

from envoyassert.launch.own_network import nsswitch_with_end


@pytest.mark.parametrize(
    "own, wanted",
    [
        ("", "hosts: files dns files\n"),
        ("passwd: files", "passwd: files\nhosts: files dns files\n"),
        (
            "passwd: files\n hosts:\tfiles [!UNAVAIL=return] dns # comment\nshadow: files\n",
            "passwd: files\nhosts: files dns files\nshadow: files\n",
        ),
        ("# hosts: dns\n", "# hosts: dns\nhosts: files dns files\n"),
    ],
)
def test_names_that_no_server_knows_have_an_end(own: str, wanted: str) -> None:
    assert nsswitch_with_end(own) == wanted
