"""The core is pure: what may import what, read from the source and tried in an interpreter.

Everything in the package is core unless it is listed below as an edge (touches the world) or a face
(what users call). The core decides; it must run without root, on any system, from a trace file.
"""

from __future__ import annotations

import ast
import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from envoyassert.steps.registry import KINDS
from tests.metrics import source as metrics

PACKAGE = "envoyassert"
ROOT = Path(__file__).resolve().parents[2]

EDGES = {
    "attach",
    "clock",
    "driver",
    "explore",
    "interrupts",
    "launch",
    "probe",
    "runner",
    "symbolize",
    "witness",
    "xds",
}
FACES = {"__main__", "asserts", "cli", "outputs", "pytest_plugin"}

# What reaches out of the process, or belongs to one face alone.
IMPURE = {
    *("bcc", "docker", "testcontainers", "requests", "grpc", "envoy", "google"),
    *("subprocess", "multiprocessing", "socket", "socketserver", "selectors", "asyncio"),
    *("http", "urllib.request", "fcntl", "signal", "ctypes", "importlib.import_module"),
    *("pytest", "_pytest", "click"),
}
# The wire module describes memory layouts; it may not load a library to call into. Text protobuf is
# parsed by Envoy's schema, of which each message is a module. Each word of the language is a
# module, found by its package, and steps are loaded by their kind; all of them are core, and looked
# at by themselves.
MAY_IMPORT = {
    f"{PACKAGE}.wire": {"ctypes"},
    f"{PACKAGE}.scenario.text_proto": {"envoy", "google", "importlib.import_module"},
    f"{PACKAGE}.steps.registry": {"importlib.import_module"},
    f"{PACKAGE}.words.word": {"importlib.import_module"},
}
LIBRARY_LOADERS = {"CDLL", "PyDLL", "LibraryLoader", "cdll", "pydll", "pythonapi"}

VAGUE_NAMES = {"utils", "util", "helpers", "helper", "manager", "common", "misc"}

Modules = Mapping[str, ast.Module]


def trees_of(root: Path) -> dict[str, ast.Module]:
    return {name: found.tree for name, found in metrics.read_modules(root).items()}


def layer(module: str) -> str:
    """Return `core`, `edge` or `face`, from a module's first component below the package."""
    name = module.split(".")[1] if "." in module else ""
    return "edge" if name in EDGES else "face" if name in FACES else "core"


def imported_names(tree: ast.Module) -> Iterator[str]:
    """Yield every name that a module imports, anywhere in it, also for type checking alone.

    `from a import b` yields `a.b`: whether b is a module shows only against the package's files.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif {"import_module", "__import__"} & set(names_used(node)):
            yield "importlib.import_module"


def names_used(node: ast.AST) -> list[str]:
    """Return the names that one node of the syntax tree mentions or imports, owner left off."""
    if isinstance(node, ast.Attribute):
        return [node.attr]
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return [alias.name for alias in node.names]
    return []


def own_imports(modules: Modules, module: str) -> set[str]:
    """Return the package's modules that importing `module` runs, its parents included."""
    reached = {module.rsplit(".", 1)[0]} if "." in module else set()
    for name in imported_names(modules[module]):
        if name.split(".")[0] != PACKAGE:
            continue
        while name not in modules:
            name = name.rpartition(".")[0]
        reached |= {name[:end] for end, char in enumerate(name) if char == "."} | {name}
    return reached - {module}


def impure_imports(modules: Modules, module: str) -> set[str]:
    """Return the entries of IMPURE that a module imports itself and may not."""
    found = set()
    for name in imported_names(modules[module]):
        parts = name.split(".")
        prefixes = {".".join(parts[:end]) for end in range(1, len(parts) + 1)}
        found |= prefixes & IMPURE
    return found - MAY_IMPORT.get(module, set())


def layering_faults(modules: Modules) -> list[str]:
    """Return one line per core module and forbidden thing it reaches, with the way to it."""
    faults = []
    own = functools.cache(functools.partial(own_imports, modules))
    impure = functools.cache(functools.partial(impure_imports, modules))
    for start in modules:
        if layer(start) != "core":
            continue
        way = {start: start}
        waiting = [start]
        while waiting:
            module = waiting.pop()
            if layer(module) != "core":
                faults.append(f"{way[module]} is no core module")
                continue
            faults += [f"{way[module]} -> {name}" for name in impure(module)]
            for reached in sorted(own(module) - way.keys()):
                way[reached] = f"{way[module]} -> {reached}"
                waiting.append(reached)
    return sorted(faults)


def loader_faults(modules: Modules) -> list[str]:
    """Return where a module that may import ctypes uses it to load a library."""
    return [
        f"{module}:{getattr(node, 'lineno', '?')}: {name}"
        for module in MAY_IMPORT
        if module in modules
        for node in ast.walk(modules[module])
        for name in names_used(node)
        if name in LIBRARY_LOADERS or name == "ctypes.util"
    ]


@pytest.fixture(scope="module")
def parsed() -> dict[str, metrics.Module]:
    return metrics.read_modules(ROOT)


@pytest.fixture(scope="module")
def modules(parsed) -> dict[str, ast.Module]:
    return {name: found.tree for name, found in parsed.items()}


def test_core_modules_reach_neither_edges_nor_faces_nor_the_world(modules):
    assert layering_faults(modules) == []


def test_wire_module_loads_no_library(modules):
    assert loader_faults(modules) == []


def test_edges_import_no_face(modules):
    faults = [
        f"{module} -> {reached}"
        for module in modules
        if layer(module) == "edge"
        for reached in own_imports(modules, module)
        if layer(reached) == "face"
    ]
    assert faults == []


def test_no_modules_import_each_other_when_they_are_loaded(parsed):
    imports = metrics.own_imports(parsed)
    assert metrics.cycles({name: found.loaded for name, found in imports.items()}) == []


def test_a_kind_of_step_is_named_by_its_own_modules_alone(modules):
    """All else asks the base class, so that a further kind is a module and an entry."""
    kinds = {kind.__name__: kind.__module__ for kind in KINDS.values()}
    own = {f"{PACKAGE}.steps.registry"}
    faults = [
        f"{module}: {name}"
        for module, tree in modules.items()
        for name in {name for node in ast.walk(tree) for name in names_used(node)} & kinds.keys()
        if module.replace(".driver.", ".steps.") != kinds[name] and module not in own
    ]
    assert faults == []


def test_nothing_below_the_faces_knows_of_reports(modules):
    """What is launched, probed or asked is described by data; a report reads it."""
    below = EDGES - {"explore", "runner"}
    faults = [
        f"{module} -> {reached}"
        for module in modules
        if module.split(".")[1:2] and module.split(".")[1] in below
        for reached in own_imports(modules, module)
        if reached.startswith(f"{PACKAGE}.report")
    ]
    assert faults == []


def test_listed_layers_name_modules_that_exist(modules):
    """An entry left behind would exempt whatever takes its name later."""
    top = {name.split(".")[1] for name in modules if "." in name}
    assert EDGES - top == set()
    assert FACES - {"__main__"} - top == set()


def test_modules_are_named_for_what_they_hold(modules):
    parts = {module: set(module.rsplit(".", 1)[-1].strip("_").split("_")) for module in modules}
    assert [module for module, words in parts.items() if words & VAGUE_NAMES] == []


def test_packages_are_described_by_modules_that_they_have(modules):
    """The docstring of a package says where in it what is."""
    # Theirs name commands, and words of the language.
    others = {"", f"{PACKAGE}.cli", f"{PACKAGE}.words.of_listener"}
    packages = sorted({module.rpartition(".")[0] for module in modules} - others)
    gone = [
        f"{package}: {name}"
        for package in packages
        for name in re.findall(r"`([a-z_]+)`", ast.get_docstring(modules[package]) or "")
        if f"{package}.{name}" not in modules
    ]
    assert gone == []


def test_lines_of_the_programs_in_the_kernel_fit_into_100_columns():
    """The formatter leaves a line alone that it cannot break."""
    too_wide = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sorted((ROOT / "bpf").rglob("*.[ch]"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(line.expandtabs(8)) > 100
    ]
    assert too_wide == []


# What a fault in the package would look like: (files, the line that must be reported).
BROKEN = {
    "direct": ({"graph.py": "import bcc\n"}, "envoyassert.graph -> bcc"),
    "submodule": ({"graph.py": "import docker.errors\n"}, "envoyassert.graph -> docker"),
    "from": ({"graph.py": "from subprocess import run\n"}, "envoyassert.graph -> subprocess"),
    "inside a function": (
        {"graph.py": "def f():\n    import socket\n"},
        "envoyassert.graph -> socket",
    ),
    "through another": (
        {"graph.py": "from envoyassert import names\n", "names.py": "import socket\n"},
        "envoyassert.graph -> envoyassert.names -> socket",
    ),
    "through the package": (
        {"graph.py": "\n", "__init__.py": "from envoyassert.runner import run\n", "runner.py": ""},
        "envoyassert.graph -> envoyassert -> envoyassert.runner is no core module",
    ),
    "an edge": (
        {"graph.py": "from envoyassert.launch import start\n", "launch.py": ""},
        "envoyassert.graph -> envoyassert.launch is no core module",
    ),
    "by name": (
        {"graph.py": "import importlib\nimportlib.import_module('bcc')\n"},
        "envoyassert.graph -> importlib.import_module",
    ),
    "ctypes outside the wire": ({"graph.py": "import ctypes\n"}, "envoyassert.graph -> ctypes"),
}


@pytest.mark.parametrize("files, fault", BROKEN.values(), ids=BROKEN.keys())
def test_layering_check_given_a_fault_reports_the_way_to_it(tmp_path, files, fault):
    package = tmp_path / PACKAGE
    package.mkdir()
    for name, text in {"__init__.py": "", **files}.items():
        (package / name).write_text(text)
    assert fault in layering_faults(trees_of(tmp_path))


@pytest.mark.parametrize(
    "line", ["ctypes.CDLL('libc.so.6')", "from ctypes import cdll", "import ctypes.util"]
)
def test_layering_check_given_a_loaded_library_in_wire_reports_it(tmp_path, line):
    package = tmp_path / PACKAGE
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "wire.py").write_text(f"import ctypes\n{line}\n")
    modules = trees_of(tmp_path)
    assert layering_faults(modules) == []
    assert [fault.split(": ")[0] for fault in loader_faults(modules)] == ["envoyassert.wire:2"]


def run_python(code: str, cwd: Path) -> str:
    """Run code in a fresh interpreter of this environment and return what it prints last."""
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env={**os.environ, "PYTEST_ADDOPTS": "", "ENVOYASSERT_CACHE": str(cwd / "cache")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout.splitlines()[-1]


def test_outputs_know_neither_pytest_nor_the_other_faces(modules):
    """They get events, whoever makes these."""
    faults = [
        f"{module} -> {name}"
        for module in modules
        if module.startswith(f"{PACKAGE}.outputs")
        for name in imported_names(modules[module])
        if name.partition(".")[0] in ("pytest", "_pytest", "click")
        or (name.split(".")[1:2] and layer(name) == "face" and name.split(".")[1] != "outputs")
    ]
    assert faults == []


HEAVY = ["bcc", "docker", "grpc", "testcontainers"]


def loaded_by(code: str, cwd: Path) -> set[str]:
    """Return the modules that code loads in a fresh interpreter."""
    return set(
        json.loads(
            run_python(f"import json, sys\n{code}\nprint(json.dumps([*sys.modules]))\n", cwd)
        )
    )


def below(modules: set[str], *parts: str) -> set[str]:
    """Return those of some modules that are or are below parts of the package."""
    names = tuple(f"{PACKAGE}.{part}" for part in parts)
    return {one for one in modules if one in names or one.startswith(tuple(f"{n}." for n in names))}


#: Libraries that few runs need; each takes as long to import as Envoy to start.
SELDOM = {"cxxfilt", "pyroute2"}
#: What judges, and what words a verdict: it is loaded when there is one, or something to say of it.
AFTER_A_RUN = ("graph.fold", "judge.judge", "judge.certificate", "outcomes", "texts")
#: What a run without steps, without a control plane and by the probe never needs.
OF_OTHER_RUNS = (
    *("driver.client", "driver.connect", "driver.load", "probe.strace_tracer", "strace.log"),
    *("xds.control_plane", "xds.server", "predict.start", "steps.another", "baseline.answer"),
)


def test_what_runs_a_scenario_loads_nothing_that_few_runs_need(tmp_path):
    loaded = loaded_by(
        "import envoyassert.launch.process, envoyassert.pytest_plugin.execute", tmp_path
    )
    assert SELDOM & loaded == set()
    assert below(loaded, *AFTER_A_RUN, *OF_OTHER_RUNS) == set()
    assert below(loaded, "report") == {
        f"{PACKAGE}.report{name}" for name in ("", ".certificate", ".parts", ".summary", ".table")
    }


def test_attach_is_armed_before_what_records_judges_or_draws_is_loaded(tmp_path):
    loaded = loaded_by(
        "import envoyassert.cli.attach, envoyassert.attach.command, envoyassert.attach.place\n"
        "import envoyassert.attach.session, envoyassert.probe.tracing",
        tmp_path,
    )
    libraries = {name.partition(".")[0] for name in loaded}
    assert {"pydantic", "yaml", "elftools", "http", "statistics"} & libraries == set()
    of_later = (
        "attach.envoy",
        "attach.recording",
        "graph.fold",
        "judge.context",
        "report",
        "words",
    )
    assert below(loaded, *of_later) == set()


def test_events_of_a_session_load_nothing_that_judges_or_reports(tmp_path):
    loaded = loaded_by("import envoyassert.outputs.events", tmp_path)
    assert below(loaded, "graph.model", "judge.values", "trace", "texts", "baseline") == set()
    assert below(loaded, "report") == {
        f"{PACKAGE}.report{name}" for name in ("", ".parts", ".summary", ".table")
    }


def test_a_verdict_that_passes_loads_no_texts_of_findings(tmp_path):
    loaded = loaded_by(
        "from pydantic import TypeAdapter\n"
        "from envoyassert.judge.judge import judge\n"
        "from envoyassert.report.certificate import certificate_line\n"
        "from envoyassert.testing import TraceBuilder\n"
        "from envoyassert.words.registry import Expectation\n"
        "trace = TraceBuilder(workers=1)\n"
        "trace.shared_listener('127.0.0.1:80')\n"
        "said = {'listener': {'port': 80}, 'bound': {'times': 1}}\n"
        "item = TypeAdapter(Expectation).validate_python(said)\n"
        "verdict = judge(trace.build(), [(0, item)], workers=1)\n"
        "assert verdict.status.value == 'PASS', verdict\n"
        "certificate_line(verdict.certificate)",
        tmp_path,
    )
    assert below(loaded, "texts", "words.in_order", "words.startup", "words.update") == set()


def test_pytest_leaves_the_asserts_of_the_package_alone(tmp_path):
    """Its loader of rewritten modules takes longer for a run than Envoy does to start."""
    (tmp_path / "one.envoyassert.yaml").write_text(
        "name: one\n"
        "envoy: {config: {static_resources: {listeners: []}}}\n"
        "expect: [{process: {live: true}}]\n"
    )
    rewritten = run_python(
        "import json, pytest, sys\n"
        "assert pytest.main(['--collect-only', '-q', 'one.envoyassert.yaml']) == 0\n"
        "import envoyassert.pytest_plugin.execute\n"
        "print(json.dumps([name for name, module in sys.modules.items()"
        f" if name.startswith({PACKAGE!r})"
        " and type(module.__spec__.loader).__name__ == 'AssertionRewritingHook']))\n",
        tmp_path,
    )
    # What is loaded before the plugin can say so.
    first = {PACKAGE, *(f"{PACKAGE}.pytest_plugin{one}" for one in ("", ".as_written", ".plugin"))}
    assert set(json.loads(rewritten)) == first


def test_core_modules_import_without_the_heavy_packages(modules, tmp_path):
    core = sorted(module for module in modules if layer(module) == "core")
    loaded = run_python(
        "import importlib, json, sys\n"
        f"sys.modules.update(dict.fromkeys({[*HEAVY, 'pytest']!r}))\n"
        f"[importlib.import_module(name) for name in {core!r}]\n"
        f"print(json.dumps([name for name in {core!r} if name in sys.modules]))\n",
        tmp_path,
    )
    assert json.loads(loaded) == core


def test_command_line_loads_no_command_and_no_model_before_it_knows_which(tmp_path):
    loaded = run_python(
        "import json, sys\nimport envoyassert.cli\nprint(json.dumps(sorted(sys.modules)))\n",
        tmp_path,
    )
    heavy = {"pydantic", f"{PACKAGE}.graph", f"{PACKAGE}.scenario", f"{PACKAGE}.words"}
    assert heavy & set(json.loads(loaded)) == set()


def test_the_version_is_said_without_the_library_of_the_command_line(tmp_path):
    """And as that says it."""
    said = (
        "import json, sys\n"
        "sys.argv = ['envoyassert', '--version']\n"
        "from envoyassert.cli import main, program\n"
    )
    quick = run_python(
        said.replace("main, ", "") + "program(); print('click' in sys.modules)", tmp_path
    )
    assert quick == "False"
    lines = [
        subprocess.run(
            [sys.executable, "-c", said + call], cwd=tmp_path, capture_output=True, check=True
        ).stdout
        for call in ("program()", "main()")
    ]
    assert lines[0] == lines[1] != b""


def test_completing_a_command_loads_no_command(tmp_path):
    loaded = run_python(
        "import contextlib, json, os, sys\n"
        "from envoyassert.cli import main\n"
        "os.environ |= {'_ENVOYASSERT_COMPLETE': 'bash_complete', 'COMP_CWORD': '1',"
        " 'COMP_WORDS': 'envoyassert ch'}\n"
        "with contextlib.suppress(SystemExit): main()\n"
        "print(json.dumps(sorted(sys.modules)))\n",
        tmp_path,
    )
    assert {"pydantic", f"{PACKAGE}.cli.check"} & set(json.loads(loaded)) == set()


def test_what_checks_a_scenario_loads_nothing_that_drafts_or_reports(tmp_path):
    loaded = run_python(
        "import json, sys\nimport envoyassert.cli.checked_file\n"
        "print(json.dumps(sorted(sys.modules)))\n",
        tmp_path,
    )
    others = {
        name
        for name in json.loads(loaded)
        if name.startswith(
            tuple(f"{PACKAGE}.{part}." for part in ("draft", "outputs", "predict", "report"))
        )
    }
    assert others == {f"{PACKAGE}.report.places"}


JUDGING = tuple(f"{PACKAGE}.{part}" for part in ("accounts", "graph.", "judge.", "trace"))
# Statuses, and where the kernel takes a client for the same address.
ONLY_OF_JUDGING = {f"{PACKAGE}.graph.lookup", f"{PACKAGE}.judge.verdict"}


def test_words_load_nothing_that_judges_until_they_judge(tmp_path):
    """A word is loaded with each scenario that is read; what its judge needs, the judge imports."""
    loaded = run_python(
        "import json, sys\n"
        "from envoyassert.words.listener import WORDS as of_listener\n"
        "from envoyassert.words.registry import WORDS\n"
        "assert all([*WORDS.values(), *of_listener.values()])\n"
        "import envoyassert.scenario.matrix\n"
        "print(json.dumps(sorted(sys.modules)))\n",
        tmp_path,
    )
    assert {name for name in json.loads(loaded) if name.startswith(JUDGING)} == ONLY_OF_JUDGING


def test_check_loads_only_the_words_that_a_file_says_and_nothing_that_judges(tmp_path):
    (tmp_path / "one.envoyassert.yaml").write_text(
        "name: one\n"
        "envoy: {config: {static_resources: {listeners: []}}}\n"
        "expect:\n"
        "- {listener: {port: 80}, bound: {times: 1}}\n"
        "- {process: {stays_up: true}}\n"
    )
    loaded = run_python(
        "import contextlib, json, sys\n"
        "from envoyassert.cli import main\n"
        "with contextlib.suppress(SystemExit): main(['check', 'one.envoyassert.yaml'])\n"
        "print(json.dumps(sorted(sys.modules)))\n",
        tmp_path,
    )
    names = set(json.loads(loaded))
    words = {name for name in names if name.startswith(f"{PACKAGE}.words.")}
    shared = ("of_listener", "registry", "remedy", "word")
    said = ("listener", "of_listener.bound", "process")
    assert words == {f"{PACKAGE}.words.{name}" for name in (*shared, *said)}
    assert below(names, "steps.another", "steps.load") == set()
    assert {name for name in names if name.startswith(JUDGING)} == ONLY_OF_JUDGING


def test_idle_plugin_in_a_foreign_project_imports_nothing_heavy(tmp_path):
    (tmp_path / "test_foreign.py").write_text("def test_passes():\n    pass\n")
    (tmp_path / "values.yaml").write_text("not: ours\n")
    assert loaded_by_plugin(tmp_path) == []


def test_plugin_in_a_session_beside_scenario_files_imports_nothing_heavy(tmp_path):
    """pytest asks for the node of each file beside the directory that it is started with."""
    (tmp_path / "beside.envoyassert.yaml").write_text("name: beside\n")
    (tmp_path / "unit").mkdir()
    (tmp_path / "unit" / "test_foreign.py").write_text("def test_passes():\n    pass\n")
    assert loaded_by_plugin(tmp_path, "unit") == []


def loaded_by_plugin(directory: Path, *arguments: str) -> list[str]:
    """Return which heavy modules a session of pytest in a directory loads."""
    loaded = run_python(
        "import json, pytest, sys\n"
        f"assert pytest.main({['-q', '--strict-config', *arguments]!r}) == 0\n"
        "import envoyassert.pytest_plugin.plugin\n"
        # The events of the outputs are models of it.
        f"print(json.dumps([name for name in {[*HEAVY, 'pydantic']!r} if name in sys.modules]))\n",
        directory,
    )
    found: list[str] = json.loads(loaded)
    return found
