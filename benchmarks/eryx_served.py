"""pyeryx as its page says, asked by lines of JSON: it wants a newer Python than cloche does. Nothing here is ours."""

import importlib
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

eryx: Any = importlib.import_module("eryx")
WALL = eryx.ResourceLimits(execution_timeout_ms=5000)
CALLING = "n = 0\nfor i in range(100):\n    n += await twice(n=i)\nprint(n)"
TWICE = {"name": "twice", "fn": lambda n: 2 * n, "description": "twice n"}
kept = eryx.Session(callbacks=[TWICE])


def check(ran: Any, wanted: int) -> None:  # noqa: ANN401  # the package's own
    if ran.stdout.strip() != str(wanted).encode():
        raise ValueError(f"got {ran.stdout!r} instead of {wanted}")


def fresh(count: int, code: str, wanted: int) -> None:
    for _ in range(count):
        check(eryx.Sandbox(resource_limits=WALL).execute(f"print({code})"), wanted)


def warm(count: int, code: str, wanted: int) -> None:
    for _ in range(count):
        check(kept.execute(f"print({code})"), wanted)


def call(count: int, _code: str, wanted: int) -> None:
    for _ in range(count):
        check(kept.execute(CALLING), wanted)


def private_bytes() -> int:
    text = Path("/proc/self/smaps_rollup").read_text()
    return sum(int(found) for found in re.findall(r"^Private_Dirty: +(\d+) kB$", text, re.MULTILINE)) << 10


def density(count: int, code: str, wanted: int) -> float:
    warm(1, code, wanted)
    before = private_bytes()
    living = []
    for _ in range(count):
        living.append(eryx.Session())
        check(living[-1].execute(f"print({code})"), wanted)
    time.sleep(3)  # they wait, as the others do
    return (private_bytes() - before) / len(living)


DOES = {"fresh": fresh, "warm": warm, "call": call, "density": density}
for line in sys.stdin:
    what, *request = json.loads(line)
    try:
        answer: dict[str, object] = {"done": DOES[what](*request)}
    except Exception as error:  # noqa: BLE001  # told to who asked
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
