#!/usr/bin/env python3
"""fio's mmap engine under the shim against its own libpmem engine: IOPS of durable random writes.

Usage: bench/fio.py DIRECTORY (on tmpfs) BIN (where libdaxshim.so and daxshim are)

Each write is durable before the next begins: the mmap engine calls msync for it (direct=1), the
libpmem engine writes back and fences (sync=1), with stores like those of the other engine (direct=0)
or with non-temporal ones (direct=1). Runs of the three alternate; what counts is the median of the
ratios of neighbouring ones.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys

ROUNDS = 9
MILLISECONDS = 500
JOBS = 1, 2, 4
# Not a whole number of blocks: where a file ends with one, the mmap engine maps the file anew at
# each write of the last block.
BLOCKS = {"4 KiB": 4 << 10, "16 KiB": 16 << 10, "64 KiB": 64 << 10, "1 MiB": 1 << 20}
SIZE = (64 << 20) - 2048
ENGINES = {
    "shim": ["--ioengine=mmap", "--direct=1"],
    "temporal": ["--ioengine=libpmem", "--direct=0", "--sync=1"],
    "non-temporal": ["--ioengine=libpmem", "--direct=1", "--sync=1"],
}


def iops(directory, library, engine, block, jobs):
    environment = dict(os.environ, DAXSHIM_EMULATE="1", PMEM_IS_PMEM_FORCE="1")
    if engine == "shim":
        # On tmpfs the kernel's msync does nothing, and auto would find that out.
        environment.update(LD_PRELOAD=str(library), DAXSHIM_FLUSH="user")
    done = subprocess.run(
        [
            "fio", "--name=job", f"--directory={directory}", "--filename_format=data.$jobnum", f"--size={SIZE}",
            f"--bs={block}", "--rw=randwrite", "--norandommap", "--time_based", f"--runtime={MILLISECONDS}ms",
            f"--numjobs={jobs}", "--group_reporting", "--allow_file_create=0", "--overwrite=1", "--fallocate=none",
            "--invalidate=0", "--gtod_reduce=1", "--output-format=json", *ENGINES[engine],
        ],
        env=environment, stdout=subprocess.PIPE, check=True, text=True,
    )
    job = json.loads(done.stdout)["jobs"][0]
    if job["error"] or not job["write"]["iops"]:
        sys.exit(f"fio: {engine}: error {job['error']}")
    return job["write"]["iops"]


def main(directory, binaries):
    directory, binaries = pathlib.Path(directory), pathlib.Path(binaries)
    for job in range(max(JOBS)):
        file = directory / f"data.{job}"
        file.write_bytes(bytes(SIZE))
        subprocess.run([binaries / "daxshim", "tag", "--emulate", file], check=True, stdout=subprocess.DEVNULL)
    print("| block | jobs | mmap, shim: IOPS | libpmem: IOPS | libpmem, non-temporal: IOPS | shim / libpmem | shim / non-temporal |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for name, block in BLOCKS.items():
        for jobs in JOBS:
            runs = {engine: [] for engine in ENGINES}
            for round in range(ROUNDS):
                for engine in list(ENGINES)[:: 1 if round % 2 else -1]:
                    runs[engine].append(iops(directory, binaries / "libdaxshim.so", engine, block, jobs))
            medians = [f"{statistics.median(of):,.0f}" for of in runs.values()]
            ratios = [
                f"{statistics.median(map(lambda a, b: a / b, runs['shim'], runs[other])):.2f}"
                for other in ("temporal", "non-temporal")
            ]
            print("|", " | ".join([name, str(jobs), *medians, *ratios]), "|", flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
