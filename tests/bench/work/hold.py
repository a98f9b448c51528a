"""Load and arm the probe, print `armed`, and hold it until standard input ends."""

import sys

from envoyassert.probe import Probe, new_run_id

with Probe.load() as probe, probe.arm(new_run_id()):
    print("armed", flush=True)
    sys.stdin.read()
