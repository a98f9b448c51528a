"""How a command begins and ends: all that is asked for is done, and nothing only takes time."""

import subprocess
import sys

import pytest

AT_EXIT = """
import atexit, gc, sys

atexit.register(lambda: print("at exit:", {}, flush=True))
"""
#: An object that says when it is freed: in a cycle, so it lives as long as the interpreter.
COMMAND = """
import atexit, sys, threading
from envoyassert.cli import program

class Kept:
    def __del__(self):
        print("freed")

kept = Kept()
kept.itself = kept
atexit.register(print, "registered")
if {thread}:
    late = lambda: (threading.main_thread().join(), print("thread"))
    threading.Thread(target=late).start()
sys.argv[1:] = ["check", "no-such-file"]
program()
"""


def executed(code: str) -> subprocess.CompletedProcess[str]:
    """Return how a program in Python ended, and what it printed."""
    words = [sys.executable, "-c", code]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("thread", "seen"), [(False, ["registered"]), (True, ["thread", "registered", "freed"])]
)
def test_a_command_does_what_is_registered_and_leaves_the_rest_to_the_kernel(thread, seen):
    code = COMMAND.format(thread=thread)
    done = executed(code)
    assert (done.returncode, done.stdout.split()) == (4, seen)
    assert "Traceback" not in done.stderr


def test_main_in_another_program_goes_on_with_it():
    code = """
import sys
from envoyassert.cli import main
sys.argv[1:] = ["check", "no-such-file"]
try:
    main()
finally:
    print("goes on")
"""
    done = executed(code)
    assert (done.returncode, done.stdout) == (4, "goes on\n")


@pytest.mark.parametrize("watch", ["settrace", "setprofile"])
def test_tool_that_watches_a_command_gets_to_its_own_end(watch):
    code = f"""
import sys
from envoyassert.cli import program
sys.{watch}(lambda *event: None)
sys.argv[1:] = ["check", "no-such-file"]
try:
    program()
finally:
    print("goes on")
"""
    done = executed(code)
    assert (done.returncode, done.stdout) == (4, "goes on\n")


def ended(fake_envoy, what, *arguments):
    with (fake_envoy.path / "conftest.py").open("a") as conftest:
        conftest.write(AT_EXIT.format(what))
    result = fake_envoy.run(sys.executable, "-m", "envoyassert", "run", ".", *arguments)
    assert result.ret == 0
    return next(line for line in result.outlines if line.startswith("at exit: "))


def test_garbage_is_looked_for_once_at_the_end_of_a_run(write_scenario, fake_envoy):
    write_scenario()
    assert ended(fake_envoy, "gc.get_freeze_count() > len(gc.get_objects())").endswith("True")


@pytest.mark.parametrize("python", [[], ["test_it.py"]])
def test_hypothesis_is_left_out_where_there_are_scenarios_alone(
    write_scenario, fake_envoy, monkeypatch, python
):
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    monkeypatch.delenv("PYTEST_PLUGINS")
    write_scenario()
    fake_envoy.makepyfile(test_it="def test_it(): pass")
    said = ended(fake_envoy, "'hypothesis.core' in sys.modules", *python)
    assert said.endswith(str(bool(python)))


@pytest.mark.parametrize(
    ("arguments", "begun"),
    [
        ([], True),
        (["--collect-only"], False),
        (["-n", "2"], False),
        (["--tracer", "strace"], False),
    ],
    ids=["here", "nowhere", "in workers", "by strace"],
)
def test_probe_is_loaded_early_where_it_is_loaded(
    write_scenario, fake_envoy, monkeypatch, arguments, begun
):
    monkeypatch.setenv("PYTEST_PLUGINS", "envoyassert.pytest_plugin.plugin,xdist.plugin")
    write_scenario()
    with (fake_envoy.path / "conftest.py").open("a") as conftest:
        conftest.write("\nprogram.load_early = lambda: open('begun', 'w').close()\n")
    result = fake_envoy.run(sys.executable, "-m", "envoyassert", "run", ".", *arguments)
    assert result.ret == 0
    assert (fake_envoy.path / "begun").exists() is begun
