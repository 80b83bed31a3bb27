#!/usr/bin/env python3
"""An ordinary program: writes to a file, maps it, stores, and makes the stores durable."""
import mmap
import os
import sys

path = sys.argv[1]
file = os.open(path, os.O_RDWR)

try:
    os.write(file, b"by write()")
    print("write(): accepted")
except OSError as error:
    print(f"write(): {error.strerror} ({error.__class__.__name__})")

with mmap.mmap(file, 0) as memory:
    for page in range(0, len(memory), 4096):
        memory[page : page + 8] = b"by store"
        memory.flush(page, 4096)  # msync(2)

print("read back:", os.pread(file, 8, 0).decode())
