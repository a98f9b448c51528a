"""From build id and offset to the name of a function: reads ELF files, in the shell of a run.

`frames` names all frames of a run and finds their files, `object_symbols` has the functions of one
file.
"""

from envoyassert.symbolize.frames import symbolize

__all__ = ["symbolize"]
