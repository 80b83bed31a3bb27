"""Exit status 0 where the LMDB file holds what lmdb_store.py had committed at some moment."""

import os
import sys

import lmdb

path = sys.argv[1]
with lmdb.open(path, subdir=False, map_size=os.path.getsize(path)) as environment:
    with environment.begin() as transaction:
        found = dict(transaction.cursor())
transactions = int(found.pop(b"count", b"-1")) + 1
expected = {b"%06d" % (n * 7919 % 1000): b"%d" % n * 20 for n in range(transactions)}
if found != expected:
    sys.exit(f"{len(found)} entries after {transactions} transactions")
