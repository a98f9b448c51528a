"""Run `envoyassert` in this interpreter, and write where its main thread was, into a file.

    python sampled.py FILE ARGUMENT...

A thread looks at the main thread's stack again and again. Each look counts for the time since the
one before: where the interpreter is held up, by a compiler or an extension, that is the time of the
frame that called it. The file has, for each stack, the seconds, the module that is being imported
or "", and the frames as `module:function`, outermost first.
"""

import atexit
import json
import os
import sys
import threading
import time
from collections import defaultdict
from importlib.metadata import entry_points
from pathlib import Path
from typing import NoReturn

INTERVAL_S = 0.001
_IMPORT = ("importlib._bootstrap", "_find_and_load")

seconds: dict[tuple[str, tuple[str, ...]], float] = defaultdict(float)
begun = time.perf_counter()
report = Path(sys.argv[1])


def look(thread: int) -> None:
    """Count the time since the last look for the stack of a thread, without end."""
    last = begun
    while True:
        time.sleep(INTERVAL_S)
        frame = sys._current_frames().get(thread)
        now = time.perf_counter()
        imported, stack = "", []
        while frame is not None:
            place = (frame.f_globals.get("__name__", ""), frame.f_code.co_name)
            if place == _IMPORT and not imported:
                imported = str(frame.f_locals.get("name", ""))
                stack.append("import")
            stack.append(":".join(place))
            frame = frame.f_back
        seconds[imported, tuple(reversed(stack))] += now - last
        last = now


def write() -> None:
    """Write what was seen."""
    found = [[time_s, imported, stack] for (imported, stack), time_s in seconds.copy().items()]
    document = {"took_s": time.perf_counter() - begun, "stacks": found}
    report.write_text(json.dumps(document), "utf-8")


def write_and_exit(status: int) -> NoReturn:
    """Take the place of os._exit, which the command may end by."""
    write()
    exit_at_once(status)


exit_at_once = os._exit
os._exit = write_and_exit
atexit.register(write)
# The interpreter lets another thread run this often.
sys.setswitchinterval(INTERVAL_S / 2)
threading.Thread(target=look, args=[threading.get_ident()], daemon=True).start()
(command,) = entry_points(group="console_scripts", name="envoyassert")
sys.argv = ["envoyassert", *sys.argv[2:]]
sys.exit(command.load()())
