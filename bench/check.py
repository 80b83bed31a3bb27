#!/usr/bin/env python3
"""What daxshim check costs unmodified programs: fio's mmap engine, and LMDB's commits with MDB_WRITEMAP.

Usage: bench/check.py DIRECTORY BIN (where libdaxshim.so and daxshim are) [--counted]

On tmpfs, with emulated tags: runs without daxshim, under check and under check --blame alternate; what
counts is the median of the ratios to the run without it beside them, of CPU time (all processes, the
command included) and of wall time. Memory is the largest resident set of a process; the mapped file
counts in it.

--counted: on the fs-DAX of the VM, with real tags, once each, without --blame: its clock counts
instructions, but takes waiting for none, so shares of the time that passes mean little.
"""

import os
import pathlib
import statistics
import subprocess
import sys
import time

ROUNDS = 7
SIZE = 64 << 20
COMMITS = """
import lmdb, os, sys
with lmdb.open(sys.argv[1], subdir=False, map_size=int(sys.argv[2]), writemap=True) as environment:
    value = os.urandom(100)
    for commit in range(int(sys.argv[3])):
        with environment.begin(write=True) as transaction:
            for record in range(10):
                key = b"%08d" % ((commit * 7919 + record * 104729) % 50000)
                transaction.put(key, value + b"%d" % commit)
"""
FIO = [
    "fio", "--name=job", f"--size={SIZE}", "--bs=4k", "--rw=randwrite", "--norandommap", "--ioengine=mmap",
    "--thread", "--allow_file_create=0", "--overwrite=1", "--fallocate=none", "--output=/dev/null",
]


def lmdb(file, commits):
    return ["/usr/bin/python3", "-c", COMMITS, file, str(SIZE), str(commits)]


def programs(fio, database, counted):
    """By name; fewer commits where each instruction is emulated."""
    commits = [2_000, 20_000] if counted else [20_000, 100_000]
    return {
        "fio, msync per write (direct=1), 64 MiB": [*FIO, f"--filename={fio}", "--direct=1", "--io_size=64m"],
        "the same, 1 GiB": [*FIO, f"--filename={fio}", "--direct=1", "--io_size=1g"],
        "fio, msync of all each 32 writes, 1 GiB": [*FIO, f"--filename={fio}", "--fsync=32", "--io_size=1g"],
        **{f"LMDB, {number:,} commits": lmdb(database, number) for number in commits},
    }


def run(command):
    """CPU seconds, wall seconds, KiB."""
    started = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        sys.exit(f"{command}: status {status}")
    return usage.ru_utime + usage.ru_stime, time.monotonic() - started, usage.ru_maxrss


def main(directory, binaries, counted):
    fio, database = directory / "fio", directory / "database"
    daxshim = binaries / "daxshim"
    emulate = [] if counted else ["--emulate"]
    fio.write_bytes(os.urandom(SIZE))
    run(lmdb(database, 1))
    # Of its final size, and without holes.
    content = database.read_bytes().rstrip(b"\0")
    database.write_bytes(content.ljust(SIZE, b"\0"))
    for file in [fio, database] if counted else []:
        subprocess.run([daxshim, "prepare", file], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([daxshim, "tag", *emulate, fio, database], check=True, stdout=subprocess.DEVNULL)
    check = [daxshim, "check", *emulate, "--compat", "--fail-on", "never"]
    titles = ["program", "CPU time, s", "MiB", "check: CPU"]
    if not counted:
        titles += ["wall", "MiB", "--blame: CPU", "wall"]
    print("|", " | ".join(titles), "|")
    print("|" + "---|" * len(titles), flush=True)
    for name, program in programs(fio, database, counted).items():
        ways = {"native": program, "check": [*check, "--", *program], "blame": [*check, "--blame", "--", *program]}
        if counted:
            del ways["blame"]
        runs = {way: [] for way in ways}
        for _ in range(1 if counted else ROUNDS):
            for way, command in ways.items():
                runs[way].append(run(command))

        def median(way, which):
            return statistics.median(one[which] for one in runs[way])

        def ratio(way, which):
            pairs = zip(runs[way], runs["native"])
            return f"{statistics.median(one[which] / native[which] for one, native in pairs):.2f}"

        mib = {way: f"{median(way, 2) / 1024:.0f}" for way in ways}
        cells = [name, f"{median('native', 0):.2f}", mib["native"], ratio("check", 0)]
        if not counted:
            cells += [ratio("check", 1), mib["check"], ratio("blame", 0), ratio("blame", 1)]
        print("|", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    counted = sys.argv[3:] == ["--counted"]
    if len(sys.argv) != 3 + counted:
        sys.exit(__doc__)
    main(*map(pathlib.Path, sys.argv[1:3]), counted)
