"""Print how long the probe takes to be loaded and attached, and to be detached and unloaded."""

import json
import time

from envoyassert.probe import Probe, new_run_id

begun = time.perf_counter()
probe = Probe.load()
loaded = time.perf_counter()
with probe.arm(new_run_id()):
    pass
armed = time.perf_counter()
probe.close()
figures = {"load_s": loaded - begun, "unload_s": time.perf_counter() - armed}
print(json.dumps(figures))
