"""A real Envoy whose listeners have hostile names: they are text in every output and browser."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import yaml

from envoyassert.outputs.registry import output_options
from tests.browser_page import NARROW, WIDE, opened
from tests.drawn import bootstrap, listener
from tests.odd_text import MARKUP, ODD, raw_in

pytestmark = [pytest.mark.bpf, pytest.mark.envoy, pytest.mark.browser]
#: Envoy takes any text for a name.
NAMES = (MARKUP, ODD, "long " * 300 + "x" * 3000)
ECHO = {
    "name": "echo",
    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo"},
}
#: What the session below tries, or what JSON alone is written by.
OUTPUTS = {"html", "markdown", "story", "coverage", "report", "baseline", "update_baseline"}
FORMATS = ("svg", "mermaid", "markdown", "perfetto", "text", "json")


def config(reuse_port: bool) -> dict[str, Any]:
    """Return an Envoy with a listener of each name."""
    chains = [{"filters": [ECHO]}]
    return bootstrap(
        *(
            listener(name, port, enable_reuse_port=reuse_port, filter_chains=chains)
            for port, name in enumerate(NAMES, 10000)
        )
    )


def scenario(name: str, reuse_port: bool) -> str:
    """Return a scenario that expects of each listener what fails without reuse_port."""
    wanted = [
        {"listener": {"name": one}, "bound": {"times": "workers"}, "why": one} for one in NAMES
    ]
    return yaml.safe_dump(
        {
            "name": name,
            "description": MARKUP,
            "envoy": {"config": config(reuse_port)},
            "expect": wanted,
        }
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that can be written and printed of two runs, one of which fails, in a directory."""
    place = tmp_path_factory.mktemp("hostile")

    def envoyassert(file: str, *words: str, code: int = 0) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "envoyassert", *words],
            cwd=place,
            capture_output=True,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "GITHUB_ACTIONS": "true",
                 "GITHUB_STEP_SUMMARY": str(place / "summary.md"), "HOME": str(Path.home())},
            check=False,
        )  # fmt: skip
        assert done.returncode == code, (words, done.stdout[-2000:], done.stderr[-2000:])
        (place / file).write_bytes(done.stdout + done.stderr)

    for name, reuse_port in (("good", True), ("bad", False)):
        (place / f"{name}.yaml").write_text(scenario(name, reuse_port))
        (place / f"{name}.envoy.yaml").write_text(yaml.safe_dump(config(reuse_port)))
    envoyassert(
        "session.txt",
        *("run", "--keep=all", "--html", "pages", "--markdown", "session.md", "-v", "--coverage"),
        *("--junitxml=junit.xml", "good.yaml", "bad.yaml"),
        code=1,
    )
    good, bad = (
        str(next(place.glob(f"pages/runs/{name}-*/trace.ndjson"))) for name in ("good", "bad")
    )
    for form in FORMATS:
        envoyassert(f"show.{form}", "show", bad, "--format", form)
        if form != "perfetto":
            envoyassert(f"diff.{form}", "diff", bad, good, "--format", form, code=1)
    judge = ("--scenario", "bad.yaml")
    envoyassert("replay.html", "replay", bad, *judge, "--format", "html", code=1)
    envoyassert("diff.html", "diff", bad, good, "--format", "html", code=1)
    both = ("bad.envoy.yaml", "good.envoy.yaml")
    for form in ("html", "markdown", "text"):
        envoyassert(f"plan.{form}", "plan", "--run", *both, "--format", form, code=3)
    return place


def test_every_output_of_a_session_is_tried() -> None:
    assert {option.name for option in output_options()} == OUTPUTS


def test_nothing_raw_is_printed_or_written(written: Path) -> None:
    # A trace keeps what was seen as it was; JUnit's XML has line breaks as references.
    ours = [
        file
        for file in written.rglob("*")
        if file.suffix.removeprefix(".") in ("txt", "md", "html", *FORMATS)
    ]
    assert len(ours) > 20
    for file in ours:
        text = file.read_text("utf-8")
        lines = [line for line in text.split("\n") if not line.startswith("::error file=")]
        assert raw_in("\n".join(lines)) == [], file
    commands = [
        line
        for line in (written / "session.txt").read_text("utf-8").split("\n")
        if line.startswith("::")
    ]
    assert commands
    for line in commands:
        assert raw_in(line.removeprefix("::error ")) == []
    for node in ET.parse(written / "junit.xml").getroot().iter():  # noqa: S314 - it is our own
        assert raw_in("\n".join([node.text or "", *node.attrib.values()])) == []


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_pages_run_no_script_of_a_name_and_stay_in_the_window(
    chromium: Any, written: Path, width: int
) -> None:
    pages = [file for file in written.rglob("*.html") if file.is_file()]
    assert len(pages) == 6
    for file in pages:
        with opened(chromium, file, width=width) as page:
            page.evaluate(
                "document.querySelectorAll('details').forEach((one) => { one.open = true; })"
            )
            assert page.evaluate("window.ran") is None, file
            assert page.locator("img, iframe, object, embed").count() == 0
            links = page.locator("a").evaluate_all("all => all.map((one) => one.protocol)")
            assert set(links) == {"file:"}
            assert "window.ran=1" in page.inner_text("body"), file
            assert page.evaluate("document.documentElement.scrollWidth") <= width, file


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_pictures_show_names_as_text(chromium: Any, written: Path, width: int) -> None:
    for name in ("show", "diff"):
        file = written / f"{name}.svg"
        with opened(chromium, file, width=width) as page:
            assert page.evaluate("window.ran") is None
            assert page.evaluate("document.querySelectorAll('image, script, a').length") == 0
