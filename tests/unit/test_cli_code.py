"""``cloche run --language``: what is printed, and with which exit code it ends."""

from __future__ import annotations

import io
import json
import os
import signal
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from cloche import UNDEFINED, BigInt, GuestError, Host, Opaque
from cloche.__main__ import main
from cloche.commands import run_code
from cloche.testing import FakeLanguageRuntime

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.faked import Fakes

pytestmark = pytest.mark.usefixtures("no_own_leaks")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, fakes: Callable[..., Fakes], tmp_path: Path) -> Callable[..., int]:
    """Give a function that runs code with some options of the command line, and gives the exit code."""
    runtime = FakeLanguageRuntime(unkept={"stack": "not counted"})

    def new_host() -> Host:
        return Host(config={}, plugins=[fakes(runtime)], entry_points=False, registry=False)

    monkeypatch.setattr(run_code, "new_host", new_host)

    def run(code: str, *options: str, args: tuple[str, ...] = ()) -> int:
        file = tmp_path / "code.fake"
        file.write_text(code)
        return main(["run", "--language", "fake", "--lenient", *options, "--", str(file), *args])

    return run


def test_the_console_and_the_value_are_printed(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("print('a\\x1b[2J')\nwarn('b')\nargs + [1]", args=("x", "--y")) == 0
    told = capsys.readouterr()
    assert told.out == 'a\\x1b[2J\n[\n  "x",\n  "--y",\n  1\n]\n'
    assert told.err == "cloche: stack is not kept: not counted\nb\n"
    assert run("'text'") == 0
    assert capsys.readouterr().out == "text\n"
    assert run("x = 1") == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("code", "options", "exit_code", "said"),
    [
        ("raise Oops('a\\x07b')", (), 1, "Oops: a\\x07b"),
        ("while 1: pass", ("--timeout", "20ms"), 124, "ended with timeout; allow more with --timeout"),
        ("grow(9000000)", ("--memory", "4M"), 137, "ended with limit:memory; allow more with --memory"),
        ("crash()", (), 137, "ended with crashed"),
        ("refused('fs')", (), 1, "refused import fs: module:denied; allow it"),
    ],
)
def test_the_exit_code_says_how_it_ended(
    run: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    code: str,
    options: tuple[str, ...],
    exit_code: int,
    said: str,
) -> None:
    assert run(code, *options) == exit_code
    assert said in capsys.readouterr().err


def test_json_has_everything(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("print(1)\n[1]", "-o", "json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["value"] == [1]
    assert told["console"] == [{"level": "log", "text": "1"}]
    assert (told["reason"], told["runtime"], told["language"], told["error"]) == ("completed", "fake", "fake", None)
    assert told["enforcement"]["stack"]["status"] == "unenforced"
    assert run("x", "-o", "json", "--report") == 1
    told = capsys.readouterr()
    assert json.loads(told.out)["error"]["name"] == "ReferenceError"
    assert "runtime fake" in told.err


def test_what_is_for_programs_is_refused(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("1", "--network", "none") == 2
    assert "--network is for programs" in capsys.readouterr().err


def test_a_file_that_is_no_text_is_refused(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("1") == 0
    (tmp_path / "bad").write_bytes(b"ab\xff")
    for name, said in ((tmp_path / "bad", "byte 2 is 0xff"), (tmp_path / "none", "can't be read"), (tmp_path, "can't")):
        assert main(["run", "--language", "fake", str(name)]) == 125
        assert said in capsys.readouterr().err
    with (tmp_path / "big").open("wb") as file:
        file.truncate((16 << 20) + 1)
    assert main(["run", "--language", "fake", str(tmp_path / "big")]) == 125
    assert "more than 16M" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"40 + 2")))
    assert main(["run", "--language", "fake", "--lenient", "-"]) == 0
    assert capsys.readouterr().out == "42\n"


def test_a_signal_ends_the_code(run: Callable[..., int]) -> None:
    def interrupt() -> None:
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGINT)

    keyboard = threading.Thread(target=interrupt)
    keyboard.start()
    assert run("while 1: pass", "--timeout", "60") == 130
    keyboard.join()


def test_values_that_json_lacks_are_told_by_their_kind() -> None:
    value = {
        "a": [float("nan"), b"\0", UNDEFINED, BigInt(5), 1.5, True],
        "b": {1: {2}, (3,): datetime(2026, 1, 2, tzinfo=UTC)},
        "c": (Opaque("f"), GuestError("E", "m"), object),
    }
    assert json.loads(json.dumps(run_code.plain(value))) == {
        "a": [{"number": "nan"}, {"base64": "AA=="}, None, 5, 1.5, True],
        "b": {"map": [[1, {"set": [2]}], [[3], {"date": "2026-01-02T00:00:00+00:00"}]]},
        "c": [{"opaque": "f"}, {"error": {"name": "E", "message": "m", "stack": ""}}, {"other": "<class 'object'>"}],
    }
    deep: list[object] = []
    for _ in range(5000):
        deep = [deep]
    assert "..." in json.dumps(run_code.plain(deep))
