#!/usr/bin/env bash
# CPython 3.6 to 3.13: struct.pack_into() clears the place before it knows whether the values fit.
#
# Behaviour: pack_into() fills the whole place with zeros, then converts the values one by one. A call
#   that raises has destroyed what was there. In shared memory others see the zeros, even when the
#   value that is written is the one that was there. A memoryview writes in one go or not at all.
# Guessed: the values are converted first, so a call that raises changes nothing.
# Seen on 2026-11-29, with 3.6.15, 3.7.16, 3.8.18, 3.9.18, 3.10.13, 3.11.2, 3.11.7, 3.12.1 and 3.13.0:
#   before: 7 7
#   pack_into of 1 and -1: error, 1 0
#   memoryview of -1: error, 7 7
set -euo pipefail

seen=$(
    timeout 20 python3 - <<'PYTHON'
import struct

place = bytearray(struct.pack("<II", 7, 7))
print("before:", *struct.unpack("<II", place))
try:
    struct.pack_into("<II", place, 0, 1, -1)
    said = "no error"
except struct.error:
    said = "error"
print(f"pack_into of 1 and -1: {said},", *struct.unpack("<II", place))

place = bytearray(struct.pack("=II", 7, 7))
try:
    memoryview(place).cast("I")[1] = -1
    said = "no error"
except ValueError:
    said = "error"
print(f"memoryview of -1: {said},", *struct.unpack("=II", place))
PYTHON
)
echo "$seen"
[ "$seen" = "before: 7 7
pack_into of 1 and -1: error, 1 0
memoryview of -1: error, 7 7" ]
