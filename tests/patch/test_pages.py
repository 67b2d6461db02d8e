"""What the pages show of JSON documents is what happens."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner

from cloche.__main__ import cli
from cloche.patch import Document

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "json-patch.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("page", "part"), [("docs/json-patch.md", ""), ("README.md", "## What changed")])
def test_examples_print_what_they_say(page: str, part: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    shown = text.split(part)[1].split("\n## ")[0] if part else text
    source = "\n".join(re.findall(r"^```python\n(.*?)^```", shown, re.MULTILINE | re.DOTALL))
    said = [one for one in re.findall(r"print\(.*\)  # (\S.*)", source) if one[0] in "[{b"]
    assert said
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(source, page, "exec"), {})  # noqa: S102 - our own documentation
    lines = iter(printed.getvalue().splitlines())
    assert all(one in lines for one in said)  # in this order


def test_the_command_line_does_what_the_page_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLOCHE_NO_PLUGINS", "1")
    names: dict[str, Any] = {}
    exec(re.findall(r"^```python\nfrom cloche import patch\n\n(.*?)\n\n", PAGE, re.MULTILINE | re.DOTALL)[0], names)  # noqa: S102
    for which in ("old", "new"):
        Path(f"{which}.json").write_text(json.dumps(names[which], indent=4), encoding="utf-8")
    (console,) = re.findall(r"^```console\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    for shown in console.split("$ ")[1:]:
        typed, _, said = shown.partition("\n")
        typed, _, file = typed.partition(" > ")
        typed, _, then = typed.partition(" && ")
        words = shlex.split(typed)
        given = words[1] if words[0] == "echo" else None
        done = CliRunner().invoke(cli, words[words.index("json") :], input=given, standalone_mode=False)
        assert done.exception is None
        if file:
            Path(file).write_text(done.stdout, encoding="utf-8")
        elif said:
            assert done.stdout + (then.partition(" ")[2] + "\n" if then else "") == said
    assert Path("made.json").exists()


def test_the_splice_on_the_page_is_one() -> None:
    (shown,) = re.findall(r"^```json\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    operation = json.loads(shown)
    text = "".join(chr(ord("a") + n % 26) for n in range(operation["length"]))
    with Document({"content": text}) as document:
        edited = text[: operation["at"]] + operation["insert"] + text[operation["at"] + operation["remove"] :]
        (made,) = json.loads(document.update({"content": edited}, splice=True))
        assert {**made, "hash": operation["hash"]} == operation
        assert document.get("/content") == edited
