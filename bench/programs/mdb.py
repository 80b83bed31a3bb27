#!/usr/bin/python3
"""LMDB with MDB_WRITEMAP: one put a transaction. Usage: mdb.py create|commit|verify FILE MIB"""

import sys
import time

import lmdb

KEYS, WARM, COMMITS = 1000, 1000, 1000
what, path, mib = sys.argv[1], sys.argv[2], int(sys.argv[3])


def key(i):
    return b"key%06d" % (i * 7919 % KEYS)


def value(i):
    return b"value%095d" % i


def commit(store, i):
    with store.begin(write=True) as transaction:
        transaction.put(key(i), value(i))


with lmdb.open(path, subdir=False, map_size=mib << 20, writemap=what != "verify", readonly=what == "verify") as store:
    if what == "create":
        with store.begin(write=True) as transaction:
            for i in range(KEYS):
                transaction.put(key(i), value(i))
    elif what == "commit":
        for i in range(WARM):
            commit(store, i)
        start = time.monotonic_ns()
        for i in range(WARM, WARM + COMMITS):
            commit(store, i)
        print(COMMITS, time.monotonic_ns() - start)
    else:
        with store.begin() as transaction:
            last = range(WARM + COMMITS - KEYS, WARM + COMMITS)
            assert transaction.stat()["entries"] == KEYS
            assert all(transaction.get(key(i)) == value(i) for i in last)
