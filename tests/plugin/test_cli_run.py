"""`envoyassert run`: thin over pytest, with exit codes that show more."""

import re
import sys

import pytest


@pytest.fixture
def run(fake_envoy):
    return lambda *arguments: fake_envoy.run(sys.executable, "-m", "envoyassert", "run", *arguments)


@pytest.mark.parametrize(
    "fakes, code",
    [
        (["shared"], 0),
        (["reuse_port"], 1),
        (["lossy"], 10),
        (["reuse_port", "lossy", "no_docker"], 1),
        (["lossy", "no_docker"], 10),
        (["shared", "lossy"], 10),
        (["refused"], 77),
        (["crash"], 77),
        (["shared", "no_docker"], 0),
        (["no_docker"], 77),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else None,
)
def test_exit_code_is_the_worst_that_happened(write_scenario, run, fakes, code):
    for fake in fakes:
        write_scenario(name=fake, fake=fake)
    result = run(".")
    assert result.ret == code
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


def test_missing_capability_that_is_required_is_code_77(write_scenario, run):
    write_scenario(fake="no_docker")
    write_scenario(name="good")
    result = run("--require", "docker")
    assert result.ret == 77
    result.stdout.fnmatch_lines(["there is no Docker engine (docker is required)"])


def test_invalid_scenario_is_code_4_with_its_place(write_scenario, run):
    name = write_scenario(head="descripton: typo")
    write_scenario(name="good")
    result = run(".")
    assert result.ret == 4
    result.stdout.fnmatch_lines([f"{name}:2:1: error: *"])


@pytest.mark.parametrize(
    "words, message",
    [
        (["--html", "a", "--report", "b"], "--html writes the results too: leave out --report"),
        (["--html", "a", "--envoyassert-report", "b"], "--html writes * leave out --report"),
        (["--artifacts", "file"], "--artifacts: file is no directory"),
        (["--html", "file"], "--html: file cannot be used: *"),
    ],
)
def test_what_pytest_refuses_is_said_by_the_options_of_the_command(
    write_scenario, fake_envoy, run, words, message
):
    write_scenario(name="good")
    fake_envoy.path.joinpath("file").touch()
    result = run(".", *words)
    result.stderr.fnmatch_lines([f"ERROR: {message}"])


def test_nothing_to_run_is_code_5(fake_envoy, run):
    assert run(".").ret == 5


FAULTS = {
    "interrupted": ("def pytest_runtest_setup():\n    raise KeyboardInterrupt", 2),
    "internal error": ("def pytest_runtestloop():\n    raise ValueError", 3),
}


@pytest.mark.parametrize(("fault", "code"), FAULTS.values(), ids=FAULTS)
def test_session_that_cannot_go_on_is_code_2_or_3_whatever_it_found(
    write_scenario, fake_envoy, run, fault, code
):
    write_scenario()
    with (fake_envoy.path / "conftest.py").open("a") as conftest:
        conftest.write(f"\n{fault}\n")
    assert run(".").ret == code


def test_interrupt_says_how_much_was_not_executed_and_no_place_of_ours(
    write_scenario, fake_envoy, run
):
    for name in ("a", "b", "c"):
        write_scenario(name=name)
    with (fake_envoy.path / "conftest.py").open("a") as conftest:
        conftest.write(
            "\ndef pytest_runtest_logreport(report):\n"
            "    if report.when == 'teardown': raise KeyboardInterrupt\n"
        )
    result = run(".")
    assert result.ret == 2
    result.stdout.fnmatch_lines(
        ["1 run executed: 1 passed (*); interrupted: 2 runs not executed", "!* interrupted !*"]
    )
    assert "KeyboardInterrupt" not in result.stdout.str()
    assert "KeyboardInterrupt" in run(".", "--full-trace").stdout.str()


def test_interrupt_before_all_runs_are_found_counts_none(write_scenario, fake_envoy, run):
    for name in ("a", "b"):
        write_scenario(name=name)
    with (fake_envoy.path / "conftest.py").open("a") as conftest:
        conftest.write(
            "\ndef pytest_itemcollected(item):\n    if item.name == 'b': raise KeyboardInterrupt\n"
        )
    result = run(".")
    assert result.ret == 2
    result.stdout.fnmatch_lines(["!* interrupted !*"])
    assert "not executed" not in result.stdout.str()


def test_interrupt_before_a_process_found_any_run_says_no_place_of_ours(
    write_scenario, fake_envoy, run, monkeypatch
):
    monkeypatch.setenv("PYTEST_PLUGINS", "envoyassert.pytest_plugin.plugin,xdist.plugin")
    write_scenario()
    with (fake_envoy.path / "conftest.py").open("a") as conftest:
        conftest.write("\ndef pytest_configure_node():\n    raise KeyboardInterrupt\n")
    result = run(".", "-n", "1")
    assert result.ret == 2
    result.stdout.fnmatch_lines(["!* interrupted !*"])
    assert "KeyboardInterrupt" not in result.stdout.str()


def test_unknown_option_of_pytest_is_code_4(write_scenario, run):
    write_scenario()
    assert run("--no-such-option").ret == 4


def test_unknown_value_of_an_option_is_code_4(write_scenario, run):
    write_scenario()
    result = run("--launcher", "podman")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*--launcher: `podman` is not one of*"])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--launcher", "podman"), "--launcher: `podman` is not one of auto, docker, process"),
        (("--envoy", "1.40"), "--envoy: `1.40` is neither an Envoy version, an image nor*"),
    ],
)
def test_unknown_value_of_an_option_is_reported_even_where_there_is_nothing_to_run(
    fake_envoy, run, option, message
):
    result = run(".", *option)
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"Error: {message}"])


@pytest.mark.parametrize(("fake", "code"), [("no_envoy", 77), ("no_docker", 0)])
def test_envoy_that_was_named_and_is_unavailable_is_code_77(write_scenario, run, fake, code):
    write_scenario(fake=fake)
    write_scenario(name="good")
    assert run(".", "--envoy", "9.9.9").ret == code


@pytest.mark.parametrize(
    ("head", "envoy", "place"),
    [("", "version: 8.8.8", "4:12"), ("matrix: {version: [1.40.0, 8.8.8]}", "", "2:28")],
)
def test_envoy_that_no_index_has_is_an_error_of_the_scenario(
    write_scenario, fake_envoy, run, head, envoy, place
):
    name = write_scenario(name="no_such", head=head)
    path = fake_envoy.path / name
    path.write_text(path.read_text().replace("envoy:\n", f"envoy:\n  {envoy}\n"))
    write_scenario(name="good")
    result = run(".")
    assert result.ret == 4
    error = f"{name}:{place}: error: there is no Envoy 8.8.8 (name another)"
    result.stdout.fnmatch_lines([error, "* 1 error *"])
    assert run(".", "-k", "good").ret == 0
    # Whoever names another one does not run into it, nor does a test that names none.
    assert run(".", "--envoy", "1.40.0").ret == 0


def test_file_without_the_suffix_is_run_when_it_is_named_or_looks_like_a_scenario(
    write_scenario, fake_envoy, run
):
    (fake_envoy.path / "a dir").mkdir()
    name = write_scenario(name="one", suffix=".yaml")
    (fake_envoy.path / name).rename(fake_envoy.path / "a dir" / name)
    (fake_envoy.path / "a dir" / "envoy.yaml").write_text("static_resources: {}")
    for path in ("a dir", "a dir/one.yaml", "."):
        result = run(path, "-v")
        assert result.ret == 0
        result.stdout.fnmatch_lines(["a dir/one.yaml::one PASSED*", "1 run executed: 1 passed*"])


@pytest.mark.parametrize("xml", [("--junitxml=out.xml",), ("--junitxml", "out.xml")])
def test_options_of_pytest_pass_through(write_scenario, fake_envoy, run, xml):
    write_scenario(head="matrix: {concurrency: [1, 2, 4]}")
    result = run(".", "-k", "one and 2", *xml, "-v")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*::one[[]concurrency=2] PASSED*", "1 run executed*"])
    assert (fake_envoy.path / "out.xml").exists()


def test_envoys_and_launchers_multiply_the_runs(write_scenario, run):
    write_scenario()
    result = run(
        "--envoy", "1.36.4", "--envoy", "1.40.0", "--launcher", "docker", "--launcher", "process"
    )
    result.stdout.fnmatch_lines(
        ["4 runs executed: 4 passed (1 scenario, 2 Envoys, 2 launchers, 1 concurrency)"]
    )


def test_once_is_one_run_of_each_scenario_on_each_envoy(write_scenario, run):
    write_scenario(head="matrix: {concurrency: [1, 2, 4], enable_reuse_port: [false, true]}")
    write_scenario(name="plain")
    result = run("--once", "--envoy", "1.36.4", "--envoy", "1.40.0")
    passed = re.findall(r"PASS +(\S+)  \d", result.stdout.str())
    assert sorted(passed) == [
        "one[concurrency=2,enable_reuse_port=false,envoy=1.36.4]",
        "one[concurrency=2,enable_reuse_port=false,envoy=1.40.0]",
        "plain[envoy=1.36.4]",
        "plain[envoy=1.40.0]",
    ]


def test_files_are_asked_for_once_and_run_in_the_order_they_were_named(
    write_scenario, fake_envoy, run
):
    for directory in ("a", "b", "b/m"):
        (fake_envoy.path / directory).mkdir()
        for name in ("x", "z", "left_out"):
            file = write_scenario(name=name, suffix=".yaml")
            (fake_envoy.path / file).rename(fake_envoy.path / directory / file)
    (fake_envoy.path / "a" / "test_python.py").write_text("def test_python(): pass")
    fake_envoy.makeconftest(
        "def pytest_collect_file(file_path): print('asked for', file_path.name, flush=True)"
    )
    whole = ["a/x", "a/z", "b/m/x", "b/m/z", "b/x", "b/z"]
    for directory in ("a", "b", "b/m"):
        (fake_envoy.path / directory / "left_out.yaml").write_text("not: a scenario")
    # `asked` counts files, `order` has those that are run: named one by one, and in directories.
    for paths, order, asked in (
        (["a", "b"], whole, 6),
        (["."], whole, 6),
        (["b", "a"], [*whole[2:], *whole[:2]], 6),
        (["a", "b/m/z.yaml"], ["a/x", "a/z", "b/m/z"], 3),
        (["a/z.yaml", "a/x.yaml"], ["a/z", "a/x"], 4),
    ):
        text = run(*paths, "--collect-only", "-q", "-s").stdout.str()
        assert re.findall(r"^(\S+)\.yaml::\w+$", text, re.MULTILINE) == order
        assert text.count("asked for") == asked


def test_file_named_from_another_directory_is_found(write_scenario, fake_envoy, run, monkeypatch):
    write_scenario()
    below = fake_envoy.mkdir("below")
    monkeypatch.chdir(below)
    result = run("../one.envoyassert.yaml")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["1 run executed: 1 passed *"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--enovy", "1.40.0"), "*unrecognized arguments: --enovy (did you mean `--envoy`[?])"),
        (("--enovy=1.40.0", "."), "*unrecognized arguments: --enovy=1.40.0 (did you mean *"),
        ((".", "--lanucher", "process"), "*--lanucher (did you mean `--launcher`[?])"),
        (("one.envoyassert.yaml", "absent.yaml"), "*there is no file or directory absent.yaml"),
        (("--format", "json"), "*--format json goes with --against; *--report DIR"),
    ],
)
def test_what_the_command_does_not_know_is_refused_by_its_name(write_scenario, run, words, message):
    write_scenario()
    result = run(*words)
    assert result.ret == 4
    result.stderr.fnmatch_lines([message])


def test_option_of_a_conftest_is_known_whose_value_is_no_path(write_scenario, fake_envoy, run):
    name = write_scenario()
    with (fake_envoy.path / "conftest.py").open("a") as conftest:
        conftest.write("\n\n\ndef pytest_addoption(parser):\n    parser.addoption('--region')\n")
    assert run(name, "--region", "north").ret == 0
    assert run("--regoin", "north").ret == 4


@pytest.fixture
def odd_files(write_scenario, fake_envoy):
    """Scenarios whose paths hold what pytest takes for the beginning of a test's name."""
    text = (fake_envoy.path / write_scenario(name="one", suffix=".yaml")).read_text()
    for directory in ("x[1]", "y::z", "z"):
        fake_envoy.mkdir(directory)
        (fake_envoy.path / directory / "one.yaml").write_text(text)
    return fake_envoy.path


@pytest.mark.parametrize("more", [(), ("-p", "xdist", "-n", "2")], ids=["alone", "workers"])
def test_paths_that_pytest_reads_otherwise_are_run_as_they_are_checked(odd_files, run, more):
    result = run("x[1]", "y::z/one.yaml", *more)
    assert result.ret == 0
    # Neither one.yaml nor what is in z: they were not named.
    result.stdout.fnmatch_lines(["2 runs executed: 2 passed *"])
    result = run(".", *more)
    result.stdout.fnmatch_lines(["4 runs executed: 4 passed *"])


def test_odd_directory_may_be_where_one_is(odd_files, run, monkeypatch):
    monkeypatch.chdir(odd_files / "x[1]")
    for words in ((), (".",), ("one.yaml",), (f"{odd_files}/x[1]/one.yaml",)):
        result = run(*words, f"--confcutdir={odd_files}")
        assert result.ret == 0
        result.stdout.fnmatch_lines(["1 run executed: 1 passed *"])
    result = run("../y::z", "one.yaml", f"--confcutdir={odd_files}")
    result.stdout.fnmatch_lines(["2 runs executed: 2 passed *"])


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 cannot be kept from it")
def test_worker_imports_nothing_of_the_current_directory_as_it_starts(
    write_scenario, fake_envoy, run
):
    write_scenario()
    for name in ("marshal", "struct", "queue", "weakref", "execnet"):
        (fake_envoy.path / f"{name}.py").write_text(f"open('touched.{name}', 'w').close()")
    result = run("-p", "xdist", "-n", "1", "-p", "no:cacheprovider", ".")
    assert result.ret == 0
    assert list(fake_envoy.path.glob("touched.*")) == []
