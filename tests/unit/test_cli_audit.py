"""``cloche audit`` and ``cloche incidents`` over a log, as a person types them; no guest's text steers a terminal."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from cloche import AuditLog, Incident, ProcessFacts, Severity, Taken
from cloche.__main__ import cli
from cloche.commands.incidents_tree import line
from cloche.config import Config
from cloche.errors import ClocheError, SpecError

if TYPE_CHECKING:
    from click.testing import Result

pytestmark = pytest.mark.usefixtures("no_own_leaks")
HOSTILE = "a\0b\x1b[31mred\nnew \x7f line \udcff\u202e\r"
FOUND = Incident(
    id="0f3a9c", sandbox="abcdef123456", sandbox_name="web", rule="sensitive-file", rule_version=2,
    severity=Severity.HIGH, time=1_795_339_985.7, message=f"opened /etc/shadow {HOSTILE}", hint="leave it",
    attack=("T1003.008",),
    event={
        "act": "open", "time": 1_795_339_985.7, "pid": 4242, "call": "openat", "args": {"flags": 0},
        "path": f"/etc/shadow{HOSTILE}", "resolved": {"base64": "/2E="}, "claimed": ["path"],
    },
    before=({"act": "exec", "path": "/usr/bin/python3", "target": f"python3\0{HOSTILE}", "time": 1.0},),
    process=(ProcessFacts(4242, 4241, "/usr/bin/python3", ("python3", HOSTILE)), ProcessFacts(4241, 1, "/bin/sh")),
    args=("sh", HOSTILE), fields={"file": HOSTILE}, count=3, blocked=True,
    taken=(Taken("alert", done=True), Taken("suspend", done=False, detail="never")),
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the folder of a log of three incidents, configured."""
    monkeypatch.setenv("CLOCHE_NO_PLUGINS", "1")
    config = tmp_path / "cloche.toml"
    config.write_text(f'[audit]\nfolder = "{tmp_path}/audit"\n')
    monkeypatch.setenv("CLOCHE_CONFIG", str(config))
    with AuditLog(tmp_path / "audit") as log:
        log.append("incident", FOUND.as_json())
        log.append("incident", replace(FOUND, id="1b", severity=Severity.LOW, sandbox="other", time=9.0).as_json())
        log.append("note", {"what": HOSTILE})
        log.append("incident", replace(FOUND, id="0f3a9c", count=4).as_json())
    return tmp_path / "audit"


def run(*args: str, code: int = 0) -> str:
    done: Result = CliRunner().invoke(cli, args, standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    assert (done.return_value or 0) == code, done.output
    return done.output


def steers(text: str) -> list[str]:
    return [char for char in text if char != "\n" and not char.isprintable()]


def test_a_log_that_is_whole_is_so_and_says_up_to_where(folder: Path) -> None:
    with AuditLog(folder) as log:
        last = log.verify().hash
    assert f"up to {last}" in run("audit", "verify")
    assert json.loads(run("audit", "verify", str(folder), "-o", "json", "--holds", last))["ok"] is True
    assert "another log" in run("audit", "verify", "--holds", "x", code=1).replace("\n", " ")


def test_a_log_that_was_changed_ends_with_1_and_names_the_first_place(folder: Path) -> None:
    file = folder / "audit-000001.jsonl"
    file.write_bytes(file.read_bytes().replace(b"sensitive-file", b"sensitive-fine", 1))
    out = run("audit", "verify", code=1)
    assert "first at audit-000001.jsonl, line 2: it is not as it was written" in out
    assert json.loads(run("audit", "verify", "-o", "json", code=1))["broken"] == [
        {"file": "audit-000001.jsonl", "line": 2, "what": "it is not as it was written"}
    ]
    assert "damaged" in run("audit", "show")


@pytest.mark.parametrize(
    "args",
    [
        ("audit", "show"), ("audit", "show", "-n", "2"), ("incidents",), ("incidents", "web"),
        ("incidents", "show", "0f"), ("audit", "verify"),
    ],
)  # fmt: skip
def test_nothing_of_a_guest_steers_the_terminal(folder: Path, args: tuple[str, ...]) -> None:
    assert folder.exists()
    out = run(*args)
    assert steers(out) == []
    assert out.strip()


def test_lines_are_chosen_by_kind_time_and_number(folder: Path) -> None:
    def kinds(*args: str) -> list[str]:
        return [
            json.loads(text)["kind"] for text in run("audit", "show", str(folder), "-o", "json", *args).splitlines()
        ]

    assert kinds() == ["file", "incident", "incident", "note", "incident"]
    assert kinds("--kind", "incident", "-n", "2") == ["incident", "incident"]
    assert kinds("--since", "2999-01-01") == []
    assert len(kinds("--since", "1h")) == 5
    with pytest.raises(Exception, match="how long ago"):
        run("audit", "show", "--since", "yesterday")


def test_incidents_are_told_once_as_they_are_now_by_severity_and_sandbox(folder: Path) -> None:
    def ids(*args: str) -> list[tuple[str, int]]:
        found = [json.loads(text) for text in run("incidents", "list", "-o", "json", *args).splitlines()]
        return [(one["id"], one["count"]) for one in found]

    assert folder.exists()
    assert ids() == [("1b", 3), ("0f3a9c", 4)]
    assert ids("--severity", "medium") == [("0f3a9c", 4)]
    assert ids("other") == [("1b", 3)]
    assert ids("web", "--since", "2020-01-01") == [("0f3a9c", 4)]
    table = run("incidents", "--severity", "high").splitlines()
    assert len(table) == 2
    assert table[1].endswith("(4 times) [alert]")


def test_the_evidence_is_a_tree_of_all_that_is_known(folder: Path) -> None:
    assert folder.exists()
    out = run("incidents", "show", "0f3a9c")
    for part in (
        "high sensitive-file", "rule sensitive-file, version 2", "4 times", "call: openat", "resolved: \\xffa",
        "only claimed by the guest: path", "file = a b\\x1b[31mred\\nnew", "4241 /bin/sh", "4242 /usr/bin/python3",
        "alert: done", "suspend: not done, never", "the act was refused",
        "T1003.008 https://attack.mitre.org/techniques/T1003/008", "leave it",
    ):  # fmt: skip
        assert part in out, part
    assert json.loads(run("incidents", "show", "1b", "-o", "json"))["severity"] == "low"
    with pytest.raises(ClocheError, match="no incident 'x'"):
        run("incidents", "show", "x")


def test_what_somebody_wrote_as_an_incident_is_shown_whatever_it_is(folder: Path) -> None:
    with AuditLog(folder) as log:
        log.append("incident", {"id": 7, "severity": "worst", "process": 3, "taken": ["x"], "before": [1], "event": []})
    assert steers(run("incidents")) == []
    assert "7" in run("incidents", "show", "7")
    assert line({}).strip()


def test_without_a_log_the_way_to_one_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CLOCHE_NO_PLUGINS", "1")
    empty = tmp_path / "cloche.toml"
    empty.touch()
    monkeypatch.setenv("CLOCHE_CONFIG", str(empty))
    with pytest.raises(SpecError, match=r"\[audit\] folder"):
        run("audit", "verify")
    with pytest.raises(ClocheError, match="can't be used"):
        run("audit", "show", str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()
    assert "no incidents" in run("incidents")


@pytest.mark.parametrize(
    ("table", "what"),
    [
        ({}, "folder is missing"), ({"folder": 1}, "path of the host"), ({"folder": "/x", "size": "1K"}, "size"),
        ({"folder": "/x", "keep": 0}, "keep"), ({"folder": "/x", "sync": "no"}, "sync"),
        ({"folder": "/x", "else": 1}, "unknown key audit.else"), ("x", "table"),
    ],
)  # fmt: skip
def test_a_bad_configuration_of_the_log_is_named(table: object, what: str) -> None:
    with pytest.raises(SpecError, match=what):
        Config.load({"audit": table})


def test_the_log_is_configured() -> None:
    settings = Config.load({"audit": {"folder": "/x", "size": "1M", "keep": 3, "sync": False}}).audit
    assert settings is not None
    assert (settings.folder, settings.size, settings.keep, settings.sync) == ("/x", 1 << 20, 3, False)
    assert Config.load({}).audit is None
