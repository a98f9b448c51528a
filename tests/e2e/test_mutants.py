"""A few of the mutants, and of the harmless variants: `make mutants` runs all of them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mutants.catalogue import HARMLESS, MUTANTS
from tests.mutants.mutant import Mutant, compile_shim
from tests.mutants.play import plans_of, play

pytestmark = [
    pytest.mark.bpf,
    pytest.mark.envoy,
    pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc (setup/install-packages.sh)"),
]
_BY_NAME = {one.name: one for one in (*MUTANTS, *HARMLESS)}


@pytest.fixture(scope="module")
def shim() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ea-shim-", dir="/tmp") as directory:
        Path(directory).chmod(0o755)  # Envoy is another user
        yield compile_shim(Path(directory))


@pytest.mark.parametrize(
    "name, scenario",
    [
        ("reuse_port_late", "reuse_port_on"),
        ("dup_lost", "reuse_port_off"),
        ("foreign", "reuse_port_on"),
        ("registered_by_main", "reuse_port_on"),
        ("bind_by_child", "reuse_port_on"),
        ("listen_by_vfork", "reuse_port_on"),
        ("served_by_child_alone", "reuse_port_on"),
        ("unix_file_covered", "unix_path"),
        ("unix_file_removed_by_child", "unix_path"),
        ("udp_connected", "udp"),
        ("update_dup_wrong", "lds_full_update"),
        ("keepidle_late", "socket_options_by_state"),
    ],
)
def test_mutant_makes_an_expectation_fail(name: str, scenario: str, probe, shim) -> None:
    (plan, *_) = plans_of(scenario)
    played = play(_BY_NAME[name], plan, probe, shim)
    assert played.killed, played


@pytest.mark.parametrize(
    "name, scenario",
    [
        ("fcntl_for_dup", "reuse_port_off"),
        ("late_first_worker", "reuse_port_on"),
        ("late_removal", "lds_full_update"),
        ("probe_reuse_port", "reuse_port_off"),
        ("filter_that_allows", "unix_path"),
        ("debug_log", "istio_sidecar"),
    ],
)
def test_harmless_variant_passes(name: str, scenario: str, probe, shim) -> None:
    (plan, *_) = plans_of(scenario)
    played = play(_BY_NAME[name], plan, probe, shim)
    assert played.sound, played
    assert all(played.fired), played  # debug_log has no rule: its arguments differ


@pytest.mark.parametrize(
    "name, reason",
    [
        ("sent_away", "was sent to a process that is not traced"),
        ("sent_away_in_bulk", "was sent to a process that is not traced"),
        ("listen_by_32_bit", "call 363 by 32-bit numbers"),
        ("listen_answered_by_filter", "seccomp set a filter that can claim"),
    ],
)
def test_what_no_probe_sees_leaves_the_run_open_with_the_reason(
    name: str, reason: str, probe, shim
) -> None:
    (plan, *_) = plans_of("reuse_port_on")
    played = play(_BY_NAME[name], plan, probe, shim)
    assert all(played.fired), played
    assert (played.outcome, played.killers) == ("INCONCLUSIVE", ())
    assert reason in played.reason


def test_mutation_that_does_not_take_place_is_reported(probe, shim) -> None:
    mutant = Mutant("never", "", "listen nth=99 : ok ; bind nth=1 : call", "")
    (plan, *_) = plans_of("reuse_port_on")
    played = play(mutant, plan, probe, shim)
    assert (played.outcome, played.fired) == ("PASS", (0, 1))
