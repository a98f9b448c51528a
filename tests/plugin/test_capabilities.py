"""What a machine lacks: a skip with the remedy on a desk, an error where it must not be."""

import pytest

from tests.plugin.conftest import SCENARIO

LACKING = {
    "no_bpf": ("bpf", "bcc is not installed; install python3-bpfcc"),
    "no_docker": ("docker", "there is no Docker engine; start one"),
    "no_envoy": ("envoy", "no such Envoy; name another"),
}


@pytest.mark.parametrize("fake", LACKING)
def test_missing_capability_on_a_desk_is_a_skip_with_the_remedy(write_scenario, fake_envoy, fake):
    write_scenario(fake=fake)
    write_scenario(name="good")
    result = fake_envoy.runpytest_subprocess("-rs")
    assert result.ret == 0
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(
        [
            "1 run executed: 1 passed, 1 skipped *",
            f"  1 skipped: {LACKING[fake][1]}",
        ]
    )


@pytest.mark.parametrize(
    "how, fake",
    [
        *(("option", fake) for fake in LACKING),
        *((how, "no_bpf") for how in ("environment", "ini", "CI")),
    ],
)
def test_missing_capability_that_is_required_is_an_error(
    write_scenario, fake_envoy, monkeypatch, fake, how
):
    write_scenario(fake=fake)
    write_scenario(name="good")
    capability = LACKING[fake][0]
    arguments = []
    if how == "option":
        arguments = [f"--envoyassert-require={capability}"]
    elif how == "environment":
        monkeypatch.setenv("ENVOYASSERT_REQUIRE", f"docker,{capability}")
    elif how == "ini":
        fake_envoy.makeini(f"[pytest]\nenvoyassert_require = {capability}\n")
    else:
        monkeypatch.setenv("CI", "true")
    result = fake_envoy.runpytest_subprocess(*arguments)
    assert result.ret == 1
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["  remedy: *", "1 run executed: 1 passed, 1 error *"])


def test_another_capability_being_required_leaves_the_skip(write_scenario, fake_envoy):
    write_scenario(fake="no_docker")
    write_scenario(name="good")
    result = fake_envoy.runpytest_subprocess("--envoyassert-require=bpf,envoy")
    result.assert_outcomes(passed=1, skipped=1)


@pytest.mark.parametrize(
    ("fake", "envoy", "how"),
    [
        ("no_envoy", "9.9.9", "option"),
        ("no_envoy", "9.9.9", "environment"),
        ("no_docker", "foo:bar", "option"),
    ],
)
def test_envoy_that_was_named_explicitly_and_is_unavailable_is_an_error(
    write_scenario, fake_envoy, monkeypatch, fake, envoy, how
):
    write_scenario(fake=fake)
    write_scenario(name="good")
    arguments = [f"--envoyassert-envoy={envoy}"] if how == "option" else []
    if how == "environment":
        monkeypatch.setenv("ENVOYASSERT_ENVOY", envoy)
    result = fake_envoy.runpytest_subprocess(*arguments)
    assert result.ret == 1
    result.assert_outcomes(passed=1, errors=1)
    message, remedy = LACKING[fake][1].split("; ")
    result.stdout.fnmatch_lines(
        [f"{message} (an error because this Envoy was named explicitly)", f"  remedy: {remedy}"]
    )


def test_session_that_would_skip_everything_fails(write_scenario, fake_envoy):
    write_scenario(fake="no_docker")
    result = fake_envoy.runpytest_subprocess()
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["no runs executed: 1 skipped", "ERROR: nothing was run: this machine lacks *"]
    )


def test_session_on_a_machine_without_bpf_makes_every_run_an_error(pytester):
    pytester.makeconftest(
        """
        from envoyassert.errors import ProbeUnavailableError
        from envoyassert.pytest_plugin import machine
        import envoyassert.probe
        from envoyassert.probe import Capability

        def fail(self):
            raise ProbeUnavailableError("user id 7 may not", "run as root")

        machine.ProbeHolder.load = fail
        envoyassert.probe.probe_capability = lambda: [Capability("x", False, "no", "do")]
        """
    )
    (pytester.path / "one.envoyassert.yaml").write_text(
        SCENARIO.format(name="one", fake="shared", head="")
    )
    result = pytester.runpytest_subprocess()
    assert result.ret == 1
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["user id 7 may not (an error because nothing else would run)", "  remedy: run as root"]
    )


@pytest.mark.parametrize(
    ("fake", "lines"),
    [
        ("refused", ["the verifier refused", "  remedy: report it", "  | last line"]),
        ("crash", ["Envoy cannot be executed", "  remedy: check it", "  | log line"]),
    ],
)
def test_fault_of_the_machine_is_an_error_without_a_traceback(
    write_scenario, fake_envoy, fake, lines
):
    write_scenario(fake=fake)
    result = fake_envoy.runpytest_subprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(lines)
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*execute.py*")


def test_requirement_of_the_scenario_that_is_not_met_is_a_skip_even_in_ci(
    write_scenario, fake_envoy, monkeypatch
):
    write_scenario(fake="unmet")
    write_scenario(name="good")
    monkeypatch.setenv("CI", "1")
    result = fake_envoy.runpytest_subprocess()
    assert result.ret == 0
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["  1 skipped: the scenario requires Linux >=9.9"])


def test_fixture_of_a_python_test_on_such_a_machine_skips_with_the_remedy(fake_envoy):
    fake_envoy.makepyfile(
        """
        import pytest
        from envoyassert.errors import ProbeUnavailableError
        from envoyassert.pytest_plugin import machine

        def fail(self):
            raise ProbeUnavailableError("bcc is not installed", "install it")

        def test_one(monkeypatch, request):
            monkeypatch.setattr(machine.ProbeHolder, "load", fail)
            request.getfixturevalue("socket_probe")

        def test_two():
            pass
        """
    )
    result = fake_envoy.runpytest_subprocess("-rs")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED * bcc is not installed; install it"])
    required = fake_envoy.runpytest_subprocess("--envoyassert-require=bpf")
    required.assert_outcomes(passed=1, errors=1)
    required.stdout.fnmatch_lines(["bcc is not installed (bpf is required)", "  remedy: install*"])
    required.stdout.no_fnmatch_line("*Traceback*")
