#!/usr/bin/python3
"""fio's mmap engine: 4 KiB at random, msync of each. Usage: job.py create|commit|verify FILE MIB"""

import json
import subprocess
import sys

what, path, mib = sys.argv[1], sys.argv[2], int(sys.argv[3])
# Not a whole number of blocks: see bench/fio.py.
SIZE = (mib << 20) - 2048


def fio(*options):
    done = subprocess.run(
        [
            "fio", "--name=job", f"--filename={path}", f"--size={SIZE}", "--bs=4k", "--ioengine=mmap", "--direct=1",
            "--overwrite=1", "--allow_file_create=0", "--fallocate=none", "--invalidate=0", "--gtod_reduce=1",
            "--verify=pattern", "--verify_pattern=0xfeedc0de", "--do_verify=0", "--output-format=json", *options,
        ],
        check=True, stdout=subprocess.PIPE, text=True,
    )
    job = json.loads(done.stdout)["jobs"][0]
    assert not job["error"]
    return job


if what == "create":
    with open(path, "wb") as file:
        file.write(bytes(SIZE))
elif what == "commit":
    write = fio("--rw=randwrite", "--loops=4")["write"]
    print(write["total_ios"], round(write["total_ios"] * 1e9 / write["iops"]))
else:
    assert fio("--rw=read", "--verify_only", "--do_verify=1")["read"]["total_ios"]
