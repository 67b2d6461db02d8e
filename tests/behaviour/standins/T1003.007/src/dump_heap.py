"""Stand-in: copies the heap of another process to a file."""

import sys

pid, target = sys.argv[1:3]
with open(f"/proc/{pid}/maps", encoding="ascii") as maps:
    heap = next(line for line in maps if "[heap]" in line).split()[0]
start, end = (int(part, 16) for part in heap.split("-"))
with open(f"/proc/{pid}/mem", "rb") as memory, open(target, "wb") as out:
    memory.seek(start)
    out.write(memory.read(end - start))
