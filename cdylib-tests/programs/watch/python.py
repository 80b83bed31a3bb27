"""Stores to a mapped file; `wrong` flushes another page than it has stored to."""
import mmap
import sys

what, directory = sys.argv[1:]
with open(directory + "/file", "r+b") as file:
    memory = mmap.mmap(file.fileno(), 0)
    memory[100:104] = b"head"
    memory.flush(0, mmap.PAGESIZE)
    memory[2 * mmap.PAGESIZE : 2 * mmap.PAGESIZE + 4] = b"body"
    memory.flush(mmap.PAGESIZE if what == "wrong" else 2 * mmap.PAGESIZE, mmap.PAGESIZE)
    memory.close()
