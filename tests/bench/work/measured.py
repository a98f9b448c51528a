"""Run a command, and write what it took into a file.

    python measured.py FILE COMMAND [ARGUMENT...]

A small process of its own does that: what the kernel says of the memory of a process is at least
what its parent had when it was started.
"""

import json
import os
import sys
import time
from pathlib import Path

begun = time.perf_counter()
pid = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(pid, 0)
figures = {
    "wall_s": time.perf_counter() - begun,
    "cpu_s": usage.ru_utime + usage.ru_stime,
    "peak_mib": usage.ru_maxrss / 1024,
    "code": os.waitstatus_to_exitcode(status),
}
Path(sys.argv[1]).write_text(json.dumps(figures), "ascii")
