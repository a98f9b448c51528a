"""What Sphinx reads: the project's pages in one directory, with links that hold there."""

from __future__ import annotations

import posixpath
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from envoyassert.scenario.load import load_scenario
from tests.site.words import word_pages

ROOT = Path(__file__).resolve().parents[2]
#: Pages that stand elsewhere in the repository, by their names in the site.
ELSEWHERE = {
    "architecture": "ARCHITECTURE.md",
    "changelog": "CHANGELOG.md",
    "contributing": "CONTRIBUTING.md",
    "contrib": "contrib/README.md",
    "findings": "findings/README.md",
}
_SHIPPED = "shipped"
_FINDINGS = "found"
_LINK = re.compile(r"(?<!\!)\[(?P<text>[^\]]*)\]\((?P<to>[^)\s]+)\)")
_FENCED = re.compile(r"(^ *```.*?^ *```$)", re.MULTILINE | re.DOTALL)


def write_source(directory: Path) -> None:
    """Write all pages into a directory."""
    places = dict(_places())
    for path, page in places.items():
        target = directory / f"{page}.md"
        target.parent.mkdir(parents=True, exist_ok=True)
        text = (ROOT / path).read_text("utf-8")
        if path.endswith(".md"):
            target.write_text(_linked(text, path, page, places), "utf-8")
        else:
            target.write_text(_of_file(path, text), "utf-8")
    (directory / _SHIPPED / "index.md").write_text(_contents(places), "utf-8")
    shutil.copytree(ROOT / "docs" / "pictures", directory / "pictures", dirs_exist_ok=True)
    for name, text in word_pages(directory / "words"):
        (directory / "words" / f"{name}.md").write_text(text, "utf-8")


def _places() -> Iterator[tuple[str, str]]:
    """Yield each file of the repository that is a page, and its name in the site."""
    for path in sorted((ROOT / "docs").glob("*.md")):
        yield f"docs/{path.name}", path.stem
    for page, elsewhere in ELSEWHERE.items():
        yield elsewhere, page
    for path in sorted((ROOT / "scenarios").glob("*.yaml")):
        yield f"scenarios/{path.name}", f"{_SHIPPED}/{path.stem}"
    for path in sorted((ROOT / "findings").glob("*.sh")):
        yield f"findings/{path.name}", f"{_FINDINGS}/{path.stem}"


def _of_file(path: str, text: str) -> str:
    """Return the page of a shipped scenario or of a finding: what it says, and the file."""
    name = Path(path).stem
    if path.endswith(".yaml"):
        about = load_scenario(ROOT / path).scenario.description
        return f"# {name}\n\n{about}\n\n`{path}`:\n\n```yaml\n{text}```\n"
    first = text.splitlines()[1].removeprefix("# ")
    return f"---\norphan: true\n---\n\n# {name}\n\n{first}\n\n`{path}`:\n\n```bash\n{text}```\n"


def _contents(places: dict[str, str]) -> str:
    names = [page.rpartition("/")[2] for page in places.values() if page.startswith(_SHIPPED)]
    listed = "\n".join(names)
    return f"# The shipped scenarios\n\n```{{toctree}}\n:maxdepth: 1\n\n{listed}\n```\n"


def _linked(text: str, path: str, page: str, places: dict[str, str]) -> str:
    """Return a page's text with links that lead from where it is in the site."""

    def led(match: re.Match[str]) -> str:
        to, hash_, anchor = match["to"].partition("#")
        if not to or ":" in to:
            return match[0]
        meant = posixpath.normpath(posixpath.join(posixpath.dirname(path), to))
        if meant in places:
            there = posixpath.relpath(f"{places[meant]}.md", posixpath.dirname(page) or ".")
            return f"[{match['text']}]({there}{hash_}{anchor})"
        # A file or a directory of the repository, which the site has no page of.
        if not (ROOT / meant).exists():
            raise ValueError(f"{path}: no {meant}")
        plain = match["text"].strip("`")
        return f"`{plain}`"

    parts = _FENCED.split(text)
    # Every second part is a block of code, as it stands.
    return "".join(one if at % 2 else _LINK.sub(led, one) for at, one in enumerate(parts))
