#!/usr/bin/python3
"""Python's mmap: a line of each page in turn, and flush of the page. Usage: pages.py create|commit|verify FILE MIB"""

import mmap
import os
import sys
import time

PAGE = mmap.PAGESIZE
WARM, COMMITS = 1000, 4000
what, path, pages = sys.argv[1], sys.argv[2], (int(sys.argv[3]) << 20) // PAGE


def content(i):
    return b"%064d" % i


if what == "create":
    with open(path, "wb") as file:
        file.write(bytes(pages * PAGE))
elif what == "commit":
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as map:
        for i in range(WARM + COMMITS):
            if i == WARM:
                start = time.monotonic_ns()
            at = i % pages * PAGE
            map[at : at + 64] = content(i)
            map.flush(at, PAGE)
        print(COMMITS, time.monotonic_ns() - start)
else:
    with open(path, "rb") as file:
        for i in range(max(0, WARM + COMMITS - pages), WARM + COMMITS):
            assert os.pread(file.fileno(), 64, i % pages * PAGE) == content(i)
