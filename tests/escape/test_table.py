"""The committed table names every attack of this suite."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "escape-suite.md"


def test_every_attack_is_in_the_committed_table(every_attack: dict[str, Any]) -> None:
    listed = set(re.findall(r"^\| `([\w-]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert set(every_attack) - listed == set(), "write it anew: pytest tests/escape --escape-table docs/escape-suite.md"


def test_the_table_tells_of_none_that_was_not_stopped() -> None:
    assert "not stopped" not in PAGE.read_text(encoding="utf-8")
