"""Which files are collected, as what, and with which options."""

import json
import sys

import pytest


def ids(result):
    return [line for line in result.outlines if "::" in line]


def test_scenario_file_is_collected_by_its_suffix_and_other_yaml_left_alone(
    write_scenario, fake_envoy
):
    write_scenario()
    write_scenario(name="two", suffix=".envoyassert.yml")
    write_scenario(name="three", suffix=".yaml")
    (fake_envoy.path / "values.yaml").write_text("not: [ours")
    result = fake_envoy.runpytest_subprocess("--collect-only", "-q")
    assert ids(result) == ["one.envoyassert.yaml::one", "two.envoyassert.yml::two"]


def test_ini_option_names_further_files(write_scenario, fake_envoy):
    (fake_envoy.path / "scenarios").mkdir()
    write_scenario(name="scenarios/../one", suffix=".yaml")
    (fake_envoy.path / "one.yaml").write_text(
        (fake_envoy.path / "one.yaml").read_text().replace("scenarios/../one", "one")
    )
    (fake_envoy.path / "one.yaml").rename(fake_envoy.path / "scenarios" / "one.yaml")
    (fake_envoy.path / "values.yaml").write_text("not: [ours")
    fake_envoy.makeini("[pytest]\nenvoyassert_files = scenarios/*.yaml\n")
    result = fake_envoy.runpytest_subprocess("--collect-only", "-q")
    assert ids(result) == ["scenarios/one.yaml::one"]


def test_launchers_and_envoys_given_make_an_item_each_and_show_in_ids(write_scenario, fake_envoy):
    write_scenario()
    arguments = (
        "--envoyassert-envoy=1.36.4",
        "--envoyassert-envoy=1.40.0",
        "--envoyassert-launcher=docker",
        "--envoyassert-launcher=process",
    )
    result = fake_envoy.runpytest_subprocess(*arguments, "--collect-only", "-q")
    assert ids(result) == [
        f"one.envoyassert.yaml::one[envoy={envoy},launcher={launcher}]"
        for envoy in ("1.36.4", "1.40.0")
        for launcher in ("docker", "process")
    ]
    result = fake_envoy.runpytest_subprocess(*arguments)
    result.stdout.fnmatch_lines(
        [
            "envoyassert: launcher docker, process; Envoy 1.36.4, 1.40.0",
            "4 runs executed: 4 passed (1 scenario, 2 Envoys, 2 launchers, 1 concurrency)",
        ]
    )


@pytest.mark.parametrize("options", [(), ("-p", "xdist", "-n2")], ids=["one process", "xdist"])
def test_header_says_once_with_what_and_as_whom_envoy_runs(write_scenario, fake_envoy, options):
    write_scenario(head="matrix: {concurrency: [1, 2]}")
    lines = fake_envoy.runpytest_subprocess(*options).outlines
    header = [line for line in lines if line.startswith("envoyassert: ")]
    assert header[0] == "envoyassert: launcher auto; Envoy as each scenario says"
    # Under xdist the configs of the runs are in the workers.
    assert header[1:] == (
        [] if options else ["envoyassert: Envoy is user 61000, without capabilities"]
    )
    first_run = next(number for number, line in enumerate(lines) if "[100%]" in line)
    assert lines.index(header[-1]) < first_run


@pytest.mark.parametrize("options", [(), ("--envoyassert-markdown=out.md",)])
def test_session_without_scenarios_has_no_header(fake_envoy, options):
    fake_envoy.makepyfile("def test_one(): pass")
    assert "envoyassert: " not in fake_envoy.runpytest_subprocess(*options).stdout.str()


def test_option_wins_over_environment_and_environment_over_ini(
    write_scenario, fake_envoy, monkeypatch
):
    write_scenario()
    fake_envoy.makeini("[pytest]\nenvoyassert_envoy = 1.1.1\n")
    collect = ("--collect-only", "-q")
    assert ids(fake_envoy.runpytest_subprocess(*collect)) == [
        "one.envoyassert.yaml::one[envoy=1.1.1]"
    ]
    monkeypatch.setenv("ENVOYASSERT_ENVOY", "2.2.2")
    assert ids(fake_envoy.runpytest_subprocess(*collect)) == [
        "one.envoyassert.yaml::one[envoy=2.2.2]"
    ]
    assert ids(fake_envoy.runpytest_subprocess("--envoyassert-envoy=3.3.3", *collect)) == [
        "one.envoyassert.yaml::one[envoy=3.3.3]"
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--envoyassert-launcher=podman"], "--envoyassert-launcher: `podman` is not one of auto*"),
        (["--envoyassert-require=bfp"], "--envoyassert-require: `bfp` is not one of bpf, docker*"),
        (["--envoyassert-pull=maybe"], "--envoyassert-pull: `maybe` is not one of never*"),
        (["--envoyassert-envoy=no such"], "*--envoyassert-envoy: `no such` is neither an Envoy*"),
    ],
)
def test_option_with_an_unknown_value_is_a_usage_error(
    write_scenario, fake_envoy, arguments, message
):
    write_scenario()
    result = fake_envoy.runpytest_subprocess(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{message}"])


def test_value_of_the_environment_that_is_unknown_is_blamed_on_it(fake_envoy, monkeypatch):
    monkeypatch.setenv("ENVOYASSERT_REQUIRE", "root")
    result = fake_envoy.runpytest_subprocess()
    result.stderr.fnmatch_lines(["*environment variable ENVOYASSERT_REQUIRE: `root` is not*"])


def test_invalid_scenario_is_a_collection_error_with_every_place_and_no_traceback(
    write_scenario, fake_envoy
):
    name = write_scenario(head="descripton: typo", more="  - never: {}\n")
    result = fake_envoy.runpytest_subprocess()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines([f"{name}:2:1: error: *", f"{name}:14:*: error: *"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_marks_of_a_scenario_select_it(write_scenario, fake_envoy):
    fake_envoy.makeini("[pytest]\nmarkers = slow: takes long\n")
    write_scenario(head="marks: [slow]")
    write_scenario(name="two")
    for expression, expected in (("slow", "one"), ("not slow", "two"), ("bpf", None)):
        result = fake_envoy.runpytest_subprocess("-m", expression, "--collect-only", "-q")
        found = [line.rpartition("::")[2] for line in ids(result)]
        assert found == (["one", "two"] if expected is None else [expected])


def test_mark_that_strict_markers_refuses_is_reported_with_its_place(write_scenario, fake_envoy):
    name = write_scenario(head="marks: [sloow]")
    result = fake_envoy.runpytest_subprocess("--strict-markers")
    result.stdout.fnmatch_lines([f"{name}:2:*: error: 'sloow' not found in `markers`*"])


def test_timeout_of_a_scenario_is_pytest_timeouts(write_scenario, fake_envoy):
    write_scenario(head="timeout: 7s")
    fake_envoy.makepyfile(
        later="""
        def pytest_collection_modifyitems(items):
            for item in items:
                print("timeout", item.get_closest_marker("timeout").args)
        """
    )
    result = fake_envoy.runpytest_subprocess("-p", "later", "--collect-only", "-q")
    result.stdout.fnmatch_lines(["timeout (7.0,)"])


def test_keyword_selects_by_matrix_value(write_scenario, fake_envoy):
    write_scenario(head="matrix: {concurrency: [1, 2, 4]}")
    result = fake_envoy.runpytest_subprocess("-k", "one and 2", "--collect-only", "-q")
    assert ids(result) == ["one.envoyassert.yaml::one[concurrency=2]"]


def test_fixtures_of_every_scope_work_for_scenario_items(write_scenario, fake_envoy):
    write_scenario()
    fake_envoy.makepyfile(
        later="""
        import pytest

        @pytest.fixture(scope="module", autouse=True)
        def around_module():
            print("module up")
            yield
            print("module down")

        @pytest.fixture(autouse=True)
        def around(request, scenario):
            print("plan", scenario.id)
        """
    )
    result = fake_envoy.runpytest_subprocess("-p", "later", "-s")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*module up", "plan one", "*module down*"])


def test_header_and_summary_are_silent_without_scenarios(pytester):
    pytester.makepyfile("def test_one(): pass")
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*envoyassert*")


def test_idle_plugin_imports_nothing_heavy(pytester):
    pytester.makepyfile("def test_one(): pass")
    code = (
        "import json, pytest, sys; pytest.main(['-q']);"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    result = pytester.run(sys.executable, "-c", code)
    loaded = set(json.loads(result.outlines[-1]))
    assert "envoyassert" in loaded
    assert not loaded & {"bcc", "docker", "testcontainers", "pydantic", "requests", "yaml"}


def ran(result):
    """Return which runs were executed, in their order."""
    words = (line.split() for line in result.outlines if "::" in line)
    return [name.partition("::")[2] for name, word, *_ in words if word in ("PASSED", "FAILED")]


@pytest.fixture
def failed_before(write_scenario, fake_envoy):
    """Two files with two runs each; those of `b` failed in the session before."""
    matrix = "matrix: {concurrency: [1, 2]}"
    write_scenario(name="a", head=matrix)
    write_scenario(name="b", head=matrix, fake="reuse_port")
    cache = ("-p", "cacheprovider")
    fake_envoy.runpytest_subprocess(*cache).assert_outcomes(passed=2, failed=2)
    return lambda *arguments: fake_envoy.runpytest_subprocess(*cache, "-v", *arguments)


def test_only_what_failed_last_is_run_again(failed_before):
    assert ran(failed_before("--lf")) == ["b[concurrency=1]", "b[concurrency=2]"]


def test_what_failed_last_is_run_first(failed_before):
    runs = [f"{name}[concurrency={workers}]" for name in "ba" for workers in (1, 2)]
    assert ran(failed_before("--ff")) == runs


def test_stepwise_goes_on_at_what_failed(failed_before):
    first, again = failed_before("--sw"), failed_before("--sw")
    assert ran(first)[-1:] == ran(again) == ["b[concurrency=1]"]
    assert len(ran(first)) == 3


def test_runs_of_one_group_go_to_one_worker(write_scenario, fake_envoy):
    for name in "abcd":
        write_scenario(name=name, head="marks: [xdist_group]\nmatrix: {concurrency: [1, 2]}")
    result = fake_envoy.runpytest_subprocess("-p", "xdist", "-n2", "--dist=loadgroup", "-v")
    result.assert_outcomes(passed=8)
    workers = {line.split()[0] for line in result.outlines if "PASSED" in line}
    assert len(workers) == 1
