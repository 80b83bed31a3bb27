"""Commits N transactions to the LMDB file, each of which says how many there were."""

import sys

import lmdb

path, transactions = sys.argv[1], int(sys.argv[2])
with lmdb.open(path, subdir=False, map_size=1 << 20, writemap=True) as environment:
    for number in range(transactions):
        with environment.begin(write=True) as transaction:
            transaction.put(b"%06d" % (number * 7919 % 1000), b"%d" % number * 20)
            transaction.put(b"count", b"%d" % number)
