"""What the pages show of code without a process is what happens."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

import cloche

ROOT: Final = Path(__file__).parents[2]


@pytest.mark.parametrize(("page", "part"), [("docs/interpreters.md", ""), ("README.md", "## Code without a process")])
def test_examples_print_what_they_say(page: str, part: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    shown = text if not part else text.split(part)[1].split("\n## ")[0]
    with cloche.Host(pool=False) as host:
        found = [one for one in host.runtimes.values() if "javascript" in one.languages]
        if not any(host.unavailable(one.name) is None for one in found):
            pytest.skip("no runtime here runs JavaScript")
    source = "\n".join(re.findall(r"^```python\n(.*?)^```", shown, re.MULTILINE | re.DOTALL))
    said = re.findall(r"print\(.*\)  # (.*)", source)
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line for line in lines if line in said] == said
    assert done.stderr == ""
