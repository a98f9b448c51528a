"""The documentation site: every page is in it, every link of it leads somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.site.pictures import PICTURES, WANTED
from tests.site.source import ROOT, write_source


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("site")
    write_source(directory)
    return directory


def sphinx(source: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """Read all pages and resolve their links; write none."""
    options = ["-q", "-W", "--keep-going", "-E", "-b", "dummy", "-c", str(ROOT / "docs")]
    return subprocess.run(
        [sys.executable, "-m", "sphinx", *options, str(source), str(out)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_every_page_is_listed_and_every_link_leads_somewhere(source: Path, tmp_path: Path) -> None:
    done = sphinx(source, tmp_path)
    assert done.stderr == ""
    assert done.returncode == 0


def test_page_that_is_not_listed_and_link_to_nowhere_end_the_build(tmp_path: Path) -> None:
    (tmp_path / "index.md").write_text("# First\n")
    (tmp_path / "lost.md").write_text("# Lost\n\n[nowhere](index.md#nowhere)\n")
    done = sphinx(tmp_path, tmp_path / "out")
    assert "isn't included in any toctree" in done.stderr
    assert "local id not found" in done.stderr
    assert done.returncode == 1


def test_link_to_a_file_that_is_not_there_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "tests.site.source.ELSEWHERE", {"broken": str(tmp_path.joinpath("broken.md"))}
    )
    (tmp_path / "broken.md").write_text("[there](not/there.md)\n")
    with pytest.raises(ValueError, match=r"no .*not/there\.md"):
        write_source(tmp_path / "out")


def test_each_way_to_listen_has_its_picture() -> None:
    page = (ROOT / "docs" / "listens.md").read_text("utf-8")
    shown = re.findall(r"!\[[^\]]+\]\(pictures/(\w+)\.svg\)", page)
    assert sorted(shown) == sorted(WANTED)
    for name, picture in WANTED.items():
        assert f"(../scenarios/{picture.scenario}.yaml)" in page
        drawn = (PICTURES / f"{name}.svg").read_text("utf-8")
        assert drawn.startswith("<svg ")
        assert "href" not in drawn
