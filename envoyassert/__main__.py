"""`python -m envoyassert` is the command `envoyassert`."""

import os
import sys

# As the command has it: what lies in the current directory is not part of the program.
try:
    here = os.getcwd()  # noqa: PTH109 - pathlib may lie there
except FileNotFoundError:
    here = ""  # it was removed
if sys.path and sys.path[0] in ("", here):
    del sys.path[0]

from envoyassert.cli import program

if __name__ == "__main__":
    program()
