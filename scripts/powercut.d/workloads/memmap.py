#!/usr/bin/python3
"""memmap.py FILE RECORDS: the log of log.h, by numpy.memmap, whose flush is msync of all of it, and an exception if that fails."""

import ctypes
import os
import pathlib
import sys

import numpy

HEAD, PAYLOAD, RECORD, SIZE = 4096, 176, 192, 4 << 20
CAPACITY = (SIZE - HEAD) // RECORD

os.environ["POWERCUT_FILE"] = sys.argv[1]
marks = ctypes.CDLL(str(pathlib.Path(__file__).resolve().parent / "marks.so"))
for name in ("transaction", "acknowledge"):
    getattr(marks, f"powercut_{name}").argtypes = [ctypes.c_uint64]
# The C library reads its own environment.
ctypes.CDLL(None).setenv(b"POWERCUT_FILE", sys.argv[1].encode(), 1)

words = numpy.memmap(sys.argv[1], dtype="<u8", mode="r+", shape=SIZE // 8)
words[0] = 0xDAFF
words.flush()
marks.powercut_begin()
for number in range(1, int(sys.argv[2]) + 1):
    marks.powercut_transaction(number)
    payload = bytes((number * 31 + i) & 0xFF for i in range(PAYLOAD))
    total = 1469598103934665603 ^ number
    for byte in payload:
        total = (total ^ byte) * 1099511628211 & (1 << 64) - 1
    record = numpy.frombuffer(number.to_bytes(8, "little") + payload + total.to_bytes(8, "little"), dtype="<u8")
    at = (HEAD + (number - 1) % CAPACITY * RECORD) // 8
    words[at : at + RECORD // 8] = record
    words.flush()
    words[1] = number
    words.flush()
    marks.powercut_acknowledge(number)
marks.powercut_end()
