"""A Python program that opens and reads many small files, each 200 of them timed."""

from pathlib import Path

PYTHON = "/usr/bin/python3"
EACH = 200
_PROGRAM = f"""
import json, sys, time
size, each = 0, []
for folder in range(int(sys.argv[2])):
    begin = time.perf_counter_ns()
    for number in range({EACH}):
        with open(f"{{sys.argv[1]}}/{{folder}}/{{number}}", "rb") as file:
            size += len(file.read())
    each.append(time.perf_counter_ns() - begin)
print(json.dumps({{"ns": each, "size": size}}))
"""


def opening(folder: Path, files: int) -> list[str]:
    """Write the program and its ``files``, of one byte each, into ``folder``; give its command line."""
    for number in range(files):
        file = folder / "tree" / str(number // EACH) / str(number % EACH)
        if number % EACH == 0:
            file.parent.mkdir(parents=True)
        file.write_bytes(b"x")
    program = folder / "opens.py"
    program.write_text(_PROGRAM)
    return [PYTHON, "-I", str(program), str(folder / "tree"), str(files // EACH)]
