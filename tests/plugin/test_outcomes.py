"""What a verdict becomes in pytest, in its summary and in JUnit."""

import xml.etree.ElementTree as ET

import pytest


@pytest.fixture
def junit(fake_envoy):
    """Run pytest in a process of its own; return its result and the one JUnit test case."""

    def run(*arguments):
        result = fake_envoy.runpytest_subprocess("--junitxml=junit.xml", *arguments)
        cases = ET.parse(fake_envoy.path / "junit.xml").iter("testcase")  # noqa: S314 - our own
        return result, list(cases)

    return run


def kinds(case):
    return [child.tag for child in case if child.tag not in ("properties", "system-out")]


def property_of(case, name):
    return {item.get("name"): item.get("value") for item in case.iter("property")}.get(name)


def test_pass_is_counted_with_its_axes(write_scenario, fake_envoy):
    write_scenario(head="matrix: {concurrency: [1, 2, 4]}")
    result = fake_envoy.runpytest_subprocess("-v")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "one.envoyassert.yaml::one[[]concurrency=1] PASSED*",
            "one.envoyassert.yaml::one[[]concurrency=2] PASSED*",
            "one.envoyassert.yaml::one[[]concurrency=4] PASSED*",
            "3 runs executed: 3 passed (1 scenario, 1 Envoy, 1 launcher, 3 concurrencies)",
        ]
    )


def test_fail_is_a_failure_that_names_atom_file_and_line(write_scenario, junit):
    write_scenario(fake="reuse_port")
    result, (case,) = junit()
    assert result.ret == 1
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "FAIL one: port 15006: expected 1 bind() call, saw 2 (and 1 more)",
            "one.envoyassert.yaml:12:13",
            "> 12 |     bound: {times: 1, by: main}",
            "trace: .envoyassert/one/one/trace.ndjson",
            "log: .envoyassert/one/one/envoy.log",
            "replay: envoyassert replay .envoyassert/one/one/trace.ndjson --scenario one.*yaml",
            "1 run executed: 1 failed (*",
            "FAILED one.envoyassert.yaml::one - port 15006: *",
        ]
    )
    assert kinds(case) == ["failure"]
    failure = case.find("failure")
    assert failure.get("message").startswith("port 15006: expected 1 bind() call")
    assert "\n" not in failure.get("message")
    assert property_of(case, "envoyassert_verdict") == "FAIL"
    assert property_of(case, "envoyassert_build_id") == "ab12"


def test_fail_keeps_trace_and_log_where_the_option_says(write_scenario, fake_envoy):
    write_scenario(fake="reuse_port", head="matrix: {concurrency: [2]}")
    write_scenario(name="good")
    fake_envoy.runpytest_subprocess("--envoyassert-artifacts=kept")
    kept = sorted(str(p.relative_to(fake_envoy.path)) for p in fake_envoy.path.glob("kept/**/*.*"))
    assert kept == ["kept/one/concurrency=2/envoy.log", "kept/one/concurrency=2/trace.ndjson"]
    assert (fake_envoy.path / kept[0]).read_text() == "Envoy says hello\n"


def test_trace_that_cannot_be_kept_does_not_hide_the_verdict(write_scenario, fake_envoy):
    write_scenario(fake="reuse_port")
    fake_envoy.mkdir("taken").joinpath("one").write_text("a file, not a directory")
    result = fake_envoy.runpytest_subprocess("--envoyassert-artifacts=taken")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["FAIL one: port 15006: *", "not kept: taken/* cannot be written: *"]
    )


@pytest.mark.parametrize("link", [".envoyassert", ".envoyassert/one"])
def test_directory_of_traces_that_is_a_link_is_not_written_to(write_scenario, fake_envoy, link):
    write_scenario(fake="reuse_port")
    foreign = fake_envoy.mkdir("foreign")
    place = fake_envoy.path / link
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(foreign)
    result = fake_envoy.runpytest_subprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "FAIL one: port 15006: *",
            f"not kept: .envoyassert/* cannot be written: {place.name} is a link",
        ]
    )
    assert list(foreign.iterdir()) == []


@pytest.mark.parametrize("head", ["", "marks: [slow]"])
def test_inconclusive_is_an_error_in_terminal_and_junit(write_scenario, junit, head):
    write_scenario(fake="lossy", head=head)
    result, (case,) = junit("-o", "markers=slow")
    assert result.ret == 1
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "INCONCLUSIVE one: port 15006 *",
            "certificate: NOT whole",
            "  MISSING  received *",
            "1 run executed: 1 inconclusive (*",
            "ERROR one.envoyassert.yaml::one - INCONCLUSIVE: port 15006*",
        ]
    )
    assert kinds(case) == ["error"]
    assert "INCONCLUSIVE: port 15006" in case.find("error").get("message")
    assert property_of(case, "envoyassert_verdict") == "INCONCLUSIVE"


XFAIL = """
import pytest

def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.xfail(reason="known"))
"""


def test_xfail_accepts_a_fail(write_scenario, fake_envoy):
    write_scenario(fake="reuse_port")
    fake_envoy.makepyfile(later=XFAIL)
    result = fake_envoy.runpytest_subprocess("-p", "later")
    result.assert_outcomes(xfailed=1)
    result.stdout.fnmatch_lines(["1 run executed: 1 xfailed*"])


@pytest.mark.parametrize("fake", ["lossy", "no_bpf", "crash", "refused"])
def test_xfail_never_swallows_what_is_no_verdict(write_scenario, junit, fake_envoy, fake):
    write_scenario(fake=fake)
    fake_envoy.makepyfile(later=XFAIL)
    result, (case,) = junit("-p", "later", "--envoyassert-require=bpf")
    assert result.ret == 1
    result.assert_outcomes(errors=1)
    assert kinds(case) == ["error"]


def test_inconclusive_of_an_assertion_in_python_is_an_error_too(fake_envoy, junit):
    fake_envoy.makepyfile(
        """
        import pytest
        from envoyassert.asserts import assert_listener
        from envoyassert.testing import TraceBuilder

        @pytest.mark.parametrize("lost", [(), (12, 13, 14, 15)], ids=["whole", "torn"])
        @pytest.mark.xfail(reason="known")
        def test_it(lost):
            trace = TraceBuilder(2)
            trace.shared_listener("0.0.0.0:15006")
            assert_listener(trace.build(lost=lost), port=15006, listened={"by": "main"})
        """
    )
    result, cases = junit()
    result.assert_outcomes(errors=1, xfailed=1)
    assert [kinds(case) for case in cases] == [["skipped"], ["error"]]


def test_session_with_xdist_counts_runs_in_the_controller(write_scenario, fake_envoy):
    write_scenario(head="matrix: {concurrency: [1, 2, 4]}")
    write_scenario(name="two", fake="reuse_port")
    result = fake_envoy.runpytest_subprocess("-p", "xdist", "-n2")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(
        [
            "FAIL two: port 15006: *",
            "4 runs executed: 3 passed, 1 failed (2 scenarios, 1 Envoy, 1 launcher, 3 conc*",
            "FAILED two.envoyassert.yaml::two*",
        ]
    )


def test_place_of_a_failure_is_that_of_the_atom_and_of_an_item_that_of_its_name(
    write_scenario, fake_envoy
):
    """Editors and annotations on pull requests read these two, not the text."""
    name = write_scenario(fake="reuse_port")
    path = fake_envoy.path / name
    path.write_text("# a line before\n" + path.read_text())
    fake_envoy.makepyfile(
        later="""
        def pytest_runtest_logreport(report):
            if report.failed:
                crash = report.longrepr.reprcrash
                print("crash", crash.path.rpartition("/")[2], crash.lineno, crash.message)
                print("location", *report.location)
        """
    )
    result = fake_envoy.runpytest_subprocess("-p", "later", "-s")
    text = (fake_envoy.path / "one.envoyassert.yaml").read_text().splitlines()
    line = text.index("    bound: {times: 1, by: main}") + 1
    result.stdout.fnmatch_lines(
        [
            f"*crash one.envoyassert.yaml {line} port 15006: *",
            "location one.envoyassert.yaml 1 one",
        ]
    )
