#!/usr/bin/python3
"""TDB and GDBM by their own tools: one store a commit. Usage: tools.py create|commit|verify FILE tdb|gdbm"""

import resource
import subprocess
import sys

KEYS, COMMITS = 50, 500
what, path, kind = sys.argv[1:]
GDBMTOOL = "gdbmtool", "--norc", "--quiet"


def tool(*command, commands=""):
    done = subprocess.run(command, input=commands, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def stores(count):
    form = {
        "tdb": "transaction_start\nstore key{} value{:06}\ntransaction_commit\n",
        "gdbm": "store key{} value{:06}\nsync\n",
    }[kind]
    return "".join(form.format(i % KEYS, i) for i in range(count))


def commit(count):
    """Processor time that as many take in a tool of their own, nanoseconds."""
    def spent():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return (usage.ru_utime + usage.ru_stime) * 1e9

    before = spent()
    if kind == "tdb":
        tool("tdbtool", path, commands=stores(count))
    else:
        tool(*GDBMTOOL, path, commands=stores(count))
    return spent() - before


def fetch(key):
    if kind == "tdb":
        return tool("tdbdump", "-k", key, path)
    return tool(*GDBMTOOL, "--read-only", path, "fetch", key)


if what == "create":
    if kind == "tdb":
        # With the place for recovery, which the first transaction makes.
        tool("tdbtool", commands=f"create {path}\n" + stores(KEYS))
    else:
        tool(*GDBMTOOL, "--newdb", path, commands=stores(KEYS))
elif what == "commit":
    # Starting, and learning, are in both.
    few = commit(COMMITS)
    print(2 * COMMITS, round(commit(3 * COMMITS) - few))
else:
    if kind == "tdb":
        tool("tdbtool", path, "check")
    for i in range(3 * COMMITS - KEYS, 3 * COMMITS):
        assert f"value{i:06}" in fetch(f"key{i % KEYS}")
