"""From build id and offset to the name of a function: reads ELF files, in the shell of a run."""

from envoyassert.symbolize.frames import symbolize

__all__ = ["symbolize"]
