"""What the README shows is what happens."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
README: Final = (ROOT / "README.md").read_text(encoding="utf-8")


def run(*args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *args]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120, check=False)


def test_the_quickstart_prints_what_it_says() -> None:
    source = re.search(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert source is not None
    assert len([line for line in source[1].splitlines() if line]) <= 12
    done = run("-c", source[1])
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:5] == ["42 0 exited", "line 1", "line 2", "line 3", "True"]
    assert "\nkernel: Unenforced, " in done.stdout


def test_hostile_code_gets_nowhere_as_it_is_shown() -> None:
    name = "docs/examples/hostile.py"
    shown = re.search(rf"^\$ (cloche run .*) < {re.escape(name)}\n(.*?)\n\n", README, re.MULTILINE | re.DOTALL)
    assert shown is not None
    done = run("-m", *shown[1].split(), stdin=(ROOT / name).read_text(encoding="utf-8"))
    assert done.stdout == shown[2] + "\n", done.stderr
