#!/usr/bin/env python3
"""fio's mmap engine under the shim against its own libpmem engine: IOPS of durable random writes.

Usage: bench/fio.py DIRECTORY (on tmpfs) BIN (where libdaxshim.so and daxshim are) PMEM_MSYNC (the library)

Each write is durable before the next begins: the mmap engine calls msync for it (direct=1), the
libpmem engine writes back and fences (sync=1), with stores like those of the other engine (direct=0)
or with non-temporal ones (direct=1). The mmap engine also runs with pmem_persist for msync, which
tells the engines apart from what makes durable. Runs of the four alternate; what counts is the
median of the ratios of neighbouring ones.
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
# Files that the caches hold, and larger ones: MiB, KiB.
CELLS = (1, 4), (1, 64), (64, 4), (64, 64), (64, 1024)
ENGINES = {
    "shim": ["--ioengine=mmap", "--direct=1"],
    "pmem_persist": ["--ioengine=mmap", "--direct=1"],
    "temporal": ["--ioengine=libpmem", "--direct=0", "--sync=1"],
    "non-temporal": ["--ioengine=libpmem", "--direct=1", "--sync=1"],
}


def iops(directory, preload, engine, size, block, jobs):
    environment = dict(os.environ, DAXSHIM_EMULATE="1", PMEM_IS_PMEM_FORCE="1")
    # On tmpfs the kernel's msync does nothing, and auto would find that out.
    environment.update(LD_PRELOAD=preload.get(engine, ""), DAXSHIM_FLUSH="user")
    done = subprocess.run(
        [
            "fio", "--name=job", f"--directory={directory}", "--filename_format=data.$jobnum", f"--size={size}",
            f"--bs={block}k", "--rw=randwrite", "--norandommap", "--time_based", f"--runtime={MILLISECONDS}ms",
            f"--numjobs={jobs}", "--group_reporting", "--allow_file_create=0", "--overwrite=1", "--fallocate=none",
            "--invalidate=0", "--gtod_reduce=1", "--output-format=json", *ENGINES[engine],
        ],
        env=environment, stdout=subprocess.PIPE, check=True, text=True,
    )
    job = json.loads(done.stdout)["jobs"][0]
    if job["error"] or not job["write"]["iops"]:
        sys.exit(f"fio: {engine}: error {job['error']}")
    return job["write"]["iops"]


def main(directory, binaries, pmem_msync):
    directory, binaries = pathlib.Path(directory), pathlib.Path(binaries)
    preload = {"shim": str(binaries / "libdaxshim.so"), "pmem_persist": pmem_msync}
    print("| file | block | jobs | mmap, shim: IOPS | mmap, pmem_persist | libpmem | libpmem, non-temporal | ", end="")
    print("shim / pmem_persist | shim / libpmem | shim / non-temporal |")
    print("|---|---|---|---|---|---|---|---|---|---|", flush=True)
    for mib, block in CELLS:
        # Not a whole number of blocks: where a file ends with one, the mmap engine maps the file anew
        # at each write of the last block.
        size = (mib << 20) - 2048
        for job in range(max(JOBS)):
            file = directory / f"data.{job}"
            file.unlink(missing_ok=True)
            file.write_bytes(bytes(size))
            subprocess.run([binaries / "daxshim", "tag", "--emulate", file], check=True, stdout=subprocess.DEVNULL)
        for jobs in JOBS:
            runs = {engine: [] for engine in ENGINES}
            for round in range(ROUNDS):
                for engine in list(ENGINES)[:: 1 if round % 2 else -1]:
                    runs[engine].append(iops(directory, preload, engine, size, block, jobs))
            shim = runs["shim"]
            medians = [f"{statistics.median(of):,.0f}" for of in runs.values()]
            ratios = [
                f"{statistics.median(map(lambda a, b: a / b, shim, of)):.2f}" for of in runs.values() if of is not shim
            ]
            print("|", " | ".join([f"{mib} MiB", f"{block} KiB", str(jobs), *medians, *ratios]), "|", flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
