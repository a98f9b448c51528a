"""The eBPF probe: load it once, arm it for a run, start Envoy with the run id, drain, look.

    with Probe.load() as probe, probe.arm(new_run_id()) as arm:
        ...  # start a process with ENVOYASSERT_RUN=<arm.run_id> first in its environment
        arm.drain(deadline_s=2.0)
        events = arm.snapshot().events

Importing this package does not import bcc; loading the probe does.
"""

from envoyassert.errors import Capability
from envoyassert.probe.cost import Cost
from envoyassert.probe.live import (
    RUN_ID_VARIABLE,
    Arm,
    Probe,
    ProbeSnapshot,
    Selected,
    new_run_id,
)
from envoyassert.probe.machine import probe_capability
from envoyassert.probe.program_cache import capability as program_cache_capability
from envoyassert.probe.traced_runs import RunCounters
from envoyassert.probe.tracing import Tracer, Watch, load_tracer, prepare_tracer

__all__ = [
    "RUN_ID_VARIABLE",
    "Arm",
    "Capability",
    "Cost",
    "Probe",
    "ProbeSnapshot",
    "RunCounters",
    "Selected",
    "Tracer",
    "Watch",
    "load_tracer",
    "new_run_id",
    "prepare_tracer",
    "probe_capability",
    "program_cache_capability",
]
