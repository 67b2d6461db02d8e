"""The same small programs in several languages, for ``LanguageConformance``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguagePrograms:
    """What ``LanguageConformance`` runs. ``""`` stands for what a language can't say; its test is left out."""

    keep: str
    """Declares ``x`` as 1."""
    kept: str = "x + 1"
    change: str = "x = 2"
    """Declares ``x`` as 2, or makes it so."""
    variable: str = "n + 1"
    listed: str = '[1, 2.5, "a"]'
    unknown: str = "nothing_here"
    print: str
    """Prints the line ``a 1``."""
    fail: str
    """Raises a ``TypeError`` that says ``no``."""
    loop: str
    hard: str = ""
    """Runs without end in a way that only a hard end stops."""
    memory: str
    """Takes memory without end."""
    stack: str
    """Calls itself without end."""
    output: str
    """Prints without end."""
    value: str
    """Comes to a text of a million characters."""
    calls: str
    """Calls ``f()`` without end."""
    call: str = "f(20)"
    awaited: str
    """Comes to what the coroutine function ``g`` gives for 20."""
    caught: str
    """Comes to the text of what ``f()`` raises."""
    stream: str = ""
    """Yields 1 and what ``f()`` gives, and comes to 3."""
    sent: str = ""
    """Yields 1, and then what was sent."""
    random: str = ""
    """Comes to a random number."""
    clock: str = ""
    """Comes to a number that time makes larger."""


FAKE: Final = LanguagePrograms(
    keep="x = 1", change="x = 2", print="print('a', 1)", fail="raise TypeError('no')", loop="while 1: pass",
    hard="spin()", memory="grow(1000000000)", stack="recurse()", output="print('x' * 100000000)",
    value="'x' * 1000000", calls="f()\n" * 200, awaited="g(20)", caught="", stream="yield 1\nyield f()\n3",
    sent="x = yield 1\nyield x",
)  # fmt: skip
JAVASCRIPT: Final = LanguagePrograms(
    keep="let x = 1", print='console.log("a", 1)', fail='throw new TypeError("no")', loop="while (true) {}",
    hard="Array.prototype.indexOf.call({length: 2 ** 53 - 1}, 1)",
    memory="const held = []; while (true) held.push(new Uint8Array(1 << 20).fill(1))",
    stack="(function again() { return again() + 1 })()", output='while (true) console.log("x".repeat(1000))',
    value='"x".repeat(1000000)', calls="while (true) f()", awaited="await g(20)",
    caught="(() => { try { f(); return '' } catch (error) { return error.message } })()",
    stream="yield 1; yield f(); return 3", sent="const got = yield 1; yield got", random="Math.random()",
    clock="Date.now()",
)  # fmt: skip
PYTHON: Final = LanguagePrograms(
    keep="x = 1", print='print("a", 1)', fail='raise TypeError("no")', loop="while True: pass",
    hard="sum(range(10 ** 12))",
    memory="held = []\nwhile True: held.append(bytearray(1 << 20))", stack="def again(): return again() + 1\nagain()",
    output='while True: print("x" * 1000)', value='"x" * 1000000', calls="while True: f()", awaited="await g(20)",
    caught="try:\n    f()\n    text = ''\nexcept Exception as error:\n    text = str(error)\ntext",
    stream="yield 1; yield f(); return 3", sent="got = yield 1; yield got",
    random="import random\nrandom.random()", clock="import time\ntime.time()",
)  # fmt: skip
