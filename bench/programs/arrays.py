#!/usr/bin/python3
"""numpy.memmap: a row or all of an array, and flush. Usage: arrays.py create|commit|verify FILE MIB row|all"""

import sys
import time

import numpy

what, path, mib, part = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
shape = (mib << 8, 512)
warm, commits = (500, 500) if part == "row" else (40, 20)


def commit(array, i):
    if part == "row":
        array[i % len(array)] = i
    else:
        array[:] = i
    array.flush()


if what == "create":
    numpy.memmap(path, "float64", "w+", shape=shape)[:] = 0
elif what == "commit":
    array = numpy.memmap(path, "float64", "r+", shape=shape)
    for i in range(warm):
        commit(array, i)
    start = time.monotonic_ns()
    for i in range(warm, warm + commits):
        commit(array, i)
    print(commits, time.monotonic_ns() - start)
else:
    array = numpy.fromfile(path).reshape(shape)
    last = warm + commits
    if part == "all":
        assert (array == last - 1).all()
    else:
        for i in range(max(0, last - len(array)), last):
            assert (array[i % len(array)] == i).all()
