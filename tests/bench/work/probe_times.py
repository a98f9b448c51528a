"""Print how long the probe takes to be loaded and attached, and to be detached and unloaded."""

import importlib.util
import json
import time
from pathlib import Path

from envoyassert.probe import Probe, new_run_id

#: Seconds until the kernel must have none of it.
DEADLINE_S = 10.0

# Of this checkout, whichever state is measured.
place = Path(__file__).parents[2] / "e2e" / "bpf_objects.py"
spec = importlib.util.spec_from_file_location("bpf_objects", place)
assert spec is not None
assert spec.loader is not None
kernel = importlib.util.module_from_spec(spec)
spec.loader.exec_module(kernel)

begun = time.perf_counter()
probe = Probe.load()
loaded = time.perf_counter()
held = {held for held in kernel.held_bpf_objects([Path("/proc/self")]) if held[0] == "prog_id"}
if not held:
    raise SystemExit("no program of the probe is there")
with probe.arm(new_run_id()):
    pass
armed = time.perf_counter()
probe.close()
closed = time.perf_counter()
while held & kernel.bpf_objects():
    if time.perf_counter() - closed > DEADLINE_S:
        raise SystemExit(f"the kernel still has {held & kernel.bpf_objects()}")
    time.sleep(0.001)
gone = time.perf_counter()
figures = {"load_s": loaded - begun, "unload_s": closed - armed, "gone_s": gone - armed}
print(json.dumps(figures))
