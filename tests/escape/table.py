"""The table attack x runtime: how each attack was stopped."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.escape.attack import Attack

HEAD = """\
# Escape suite

How each attack of `tests/escape/` is stopped, runtime by runtime, as a run on {machine} saw it. Made by:

```
pytest tests/escape --escape-table docs/escape-suite.md
```

*Not claimed*: the runtime's report says that it does not keep this at the level used, so the attack is not made there.
Where an attack is made at several levels, what differs is told for each. Attacks of the topic wasi are modules of WASI,
for runtimes that run such; all others are programs of Linux. How to add one is in
[tests/README.md](../tests/README.md).

| topic | attacks |
|---|---|
{topics}
| **all** | **{count}** |
"""


class Table:
    """Collects the attacks of a session and how each was stopped at each place."""

    def __init__(self) -> None:
        self._attacks: dict[str, tuple[Attack, str]] = {}
        self._runtimes: dict[str, dict[str, None]] = {}
        """Of each topic."""
        self._told: dict[tuple[str, str], dict[str, str]] = {}

    def expect(self, attack: Attack, module: str, place: object) -> None:
        """Note that ``attack`` is to be made."""
        topic = module.removeprefix("test_").replace("_", " ")
        self._attacks[attack.id] = attack, topic
        self._runtimes.setdefault(topic, {})[str(place).rpartition("-")[0]] = None

    def put(self, attack: str, place: object, how: str) -> None:
        """Note how it ended at a place."""
        runtime, _, level = str(place).rpartition("-")
        self._told.setdefault((attack, runtime), {})[level] = how

    def attacks(self) -> dict[str, Attack]:
        """Give the attacks by id."""
        return {name: one for name, (one, _) in self._attacks.items()}

    def text(self) -> str:
        """Give the page."""
        topics: dict[str, list[Attack]] = {}
        for attack, topic in self._attacks.values():
            topics.setdefault(topic, []).append(attack)
        rows = "\n".join(f"| [{topic}](#{topic.replace(' ', '-')}) | {len(found)} |" for topic, found in topics.items())
        parts = [HEAD.format(machine=_machine(), topics=rows, count=len(self._attacks))]
        for topic, found in topics.items():
            runtimes = self._runtimes[topic]
            parts.append(f"\n## {topic[0].upper()}{topic[1:]}\n\n")
            parts.append(f"| attack | what it tries | against | {' | '.join(runtimes)} |\n")
            parts.append(f"|---|---|---|{'---|' * len(runtimes)}\n")
            for one in found:
                ends = " | ".join(self._cell(one.id, runtime) for runtime in runtimes)
                parts.append(f"| `{one.id}` | {one.tries} | {one.breaks} | {ends} |\n")
        return "".join(parts)

    def _cell(self, attack: str, runtime: str) -> str:
        told = {level: how for level, how in self._told.get((attack, runtime), {}).items() if how != "not claimed"}
        if not told:
            return "*not claimed*"
        if len(set(told.values())) == 1:
            return next(iter(told.values())).replace("|", "/")
        return "; ".join(f"{level}: {how}" for level, how in told.items()).replace("|", "/")


def _machine() -> str:
    name = os.uname()
    return f"Linux {name.release.split('-')[0]} ({name.machine}), as {'root' if os.geteuid() == 0 else 'a user'}"
