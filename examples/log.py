#!/usr/bin/env python3
"""A log of records in a mapped file, for `daxshim crash`: see docs/crash.md.

Usage: log.py wrong|right|check FILE (of two pages)

The first four bytes count the records. `wrong` makes a record and the count durable by one sync, `right` the
record first; `check` wants each record that is counted.
"""
import mmap
import sys

RECORD = 64
what, path = sys.argv[1:]

with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
    if what == "check":
        count = int.from_bytes(memory[0:4], "little")
        for number in range(1, count + 1):
            if memory[number * RECORD :][:9] != b"record %02d" % number:
                sys.exit(f"record {number} of {count} is not there")
    else:
        for number in range(1, 20):
            memory[number * RECORD : number * RECORD + 9] = b"record %02d" % number
            if what == "right":
                memory.flush(0, mmap.PAGESIZE)
            memory[0:4] = number.to_bytes(4, "little")
            memory.flush(0, mmap.PAGESIZE)
