"""calls.py FILESYSTEM: prints what bench/calls.c measured as a table, and what of it is above its limit or dearer than
the last time (bench/calls.expected; UPDATE=1 writes that anew). Exit status 1 if anything is."""

import os
import pathlib
import sys

KEPT = pathlib.Path(__file__).with_name("calls.expected")
DEARER = 1.01
# With the shim to without it, at most. What the kernel does itself varies by so many instructions from run to run.
LIMIT = {"untagged": 1.03, "tagged": 1.0}
NOISE = 40
LIMITS = {
    ("tagged", "mmap, munmap, 1 MiB"): 1.15,
    ("untagged", "chmod"): 1.25,
    ("untagged", "fchmod"): 1.25,
    ("untagged", "truncate, same size"): 1.25,
    ("untagged", "utimensat"): 1.25,
    ("untagged", "setxattr"): 1.25,
    ("untagged", "rename, twice"): 1.25,
    ("untagged", "open O_CREAT, close, unlink"): 1.25,
}


def kept():
    if not KEPT.exists():
        return {}
    lines = [line.split("\t") for line in KEPT.read_text().splitlines()]
    return {(fs, subject, name): float(cost) for fs, subject, name, cost in lines}


def main(fs):
    before, now, complaints = kept(), {}, []
    print(f"{'':38} {'kernel':>8} {'shim':>8} {'ratio':>6} {'limit':>6}")
    for line in sys.stdin:
        subject, kernel, shim = line.rstrip("\n").split("\t")
        name = kernel[:28].rstrip()
        kernel, shim = float(kernel[28:]), float(shim[28:])
        limit = LIMITS.get((subject, name), LIMIT[subject])
        above = shim > kernel * limit + NOISE
        print(f"{subject:9} {name:28} {kernel:8.0f} {shim:8.0f} {shim / kernel:6.2f} {limit:6.2f}{' above' if above else ''}")
        cost = shim - kernel
        now[fs, subject, name] = cost
        last = before.get((fs, subject, name))
        if last is not None and cost - last > NOISE + (DEARER - 1) * kernel:
            complaints.append(f"{subject}, {name}: {cost:.0f} instructions more than the kernel's, {last:.0f} the last time")
    if not now:
        sys.exit("calls.py: nothing was measured")
    if os.environ.get("UPDATE"):
        others = {key: cost for key, cost in before.items() if key[0] != fs}
        rows = sorted({**others, **now}.items())
        KEPT.write_text("".join("\t".join([*key, f"{cost:.0f}"]) + "\n" for key, cost in rows))
    for complaint in complaints:
        print(f"dearer: {complaint}")
    sys.exit(bool(complaints))


main(*sys.argv[1:])
