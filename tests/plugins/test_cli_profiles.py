"""``cloche profiles`` and ``--profile``, as a person types them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import cloche as library

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    Run = Callable[..., subprocess.CompletedProcess[bytes]]

ROOT = Path(__file__).parents[2]
BUNDLED = {path.stem for path in (ROOT / "plugins" / "cloche_profiles").glob("*.toml")}
OWN = """
name = "own"
summary = "for tests"
isolation = "standard"
network = "host"

[limits]
memory = "32M"

[env]
FROM = "profile"
"""


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """Give an environment with one profile of the user's own."""
    folder = tmp_path / "cloche" / "profiles"
    folder.mkdir(parents=True)
    (folder / "own.toml").write_text(OWN)
    return {"XDG_CONFIG_HOME": str(tmp_path)}


def rows(cloche: Run, env: dict[str, str]) -> dict[str, dict[str, object]]:
    done = cloche("profiles", "-o", "json", env=env)
    assert done.stderr == b""
    return {row["name"]: row for row in json.loads(done.stdout)}


def test_profiles_are_listed_with_how_open_each_is(cloche: Run, home: dict[str, str]) -> None:
    found = rows(cloche, home)
    assert BUNDLED | {"own"} == set(found)
    for row in found.values():
        assert row["error"] is None
        assert (row["score"] is None) == (row["runtime"] is None)
    if found["own"]["score"] is not None and found["judge"]["score"] is not None:
        assert found["judge"]["score"] < found["own"]["score"]  # type: ignore[operator]
    table = cloche("profiles", env=home).stdout.decode()
    assert all(name in table for name in found)
    assert max(len(line) for line in table.splitlines()) <= 80


def test_the_rules_of_a_profile_are_shown(cloche: Run, home: dict[str, str]) -> None:
    folder = Path(home["XDG_CONFIG_HOME"]) / "cloche" / "profiles"
    text = OWN.replace("own", "judged") + "[rules]\nuse = ['a\\u001b-*']\naudit = true\nsensitive = ['/k/**']\n"
    (folder / "judged.toml").write_text(text.replace("'a\\u001b-*'", '"a\\u001b-*"'))
    shown = cloche("profiles", "show", "judged", env=home).stdout.decode()
    assert "a\\x1b-* (they only tell)" in shown
    assert "/k/**" in shown
    assert "from critical on" in shown
    whole = json.loads(cloche("profiles", "show", "judged", "-o", "json", env=home).stdout)
    assert whole["policy"]["rules"]["use"] == ["a\x1b-*"]
    assert whole["policy"]["rules"]["auto_block"] is None


def test_a_bad_profile_is_shown_with_what_is_wrong_and_hides_no_other(cloche: Run, home: dict[str, str]) -> None:
    folder = Path(home["XDG_CONFIG_HOME"]) / "cloche" / "profiles"
    (folder / "judge.toml").write_text(OWN.replace("own", "judge"))
    (folder / "typo.toml").write_text(OWN.replace("memory", "memroy"))
    (folder / "steer\x1b[2J.toml").write_text(OWN)
    (folder / "nolevel.toml").write_text(OWN.replace('"own"', '"nolevel"').replace("standard", "bulletproof"))
    found = rows(cloche, home)
    assert "the name 'judge' is taken twice" in str(found["judge"]["error"])
    assert "limits: 'memroy' is unknown" in str(found["typo"]["error"])
    assert "'bulletproof' is unknown; known levels" in str(found["nolevel"]["error"])
    assert found["own"]["error"] is None
    assert b"\x1b" not in cloche("profiles", env=home).stdout


@pytest.mark.parametrize("name", sorted(BUNDLED))
def test_all_of_one_profile_is_shown(cloche: Run, home: dict[str, str], name: str) -> None:
    one = json.loads(cloche("profiles", "show", name, "-o", "json", env=home).stdout)
    assert one["policy"]["isolation"] in {"enhanced", "maximum"}
    if one["score"] is not None:
        assert one["enforcement"]["process"]["status"] in {"enforced", "partial"}
        assert sum(row["points"] for row in one["reasons"]) == pytest.approx(one["score"], abs=0.011)
    text = cloche("profiles", "show", name, env=home).stdout.decode()
    for word in ("memory", "time per run", "work folder", "isolation"):
        assert word in text
    assert max(len(line) for line in text.splitlines()) <= 80


def test_a_file_is_checked(cloche: Run, home: dict[str, str], tmp_path: Path) -> None:
    good, bad, missing = (tmp_path / f"{name}.toml" for name in ("good", "bad", "missing"))
    good.write_text(OWN)
    bad.write_text(OWN.replace("network", "netwrok"))
    done = cloche("profiles", "check", str(good), env=home)
    assert (done.returncode, done.stderr) == (0, b"")
    done = cloche("profiles", "check", str(good), str(bad), str(missing), "-o", "json", env=home)
    assert done.returncode == 1
    first, second, third = json.loads(done.stdout)
    assert (first["name"], first["error"]) == ("own", None)
    assert second["error"].startswith(f"{bad}: unknown key 'netwrok'")
    assert third["error"].startswith(f"{missing}: can't read this profile")


@pytest.mark.parametrize(
    ("text", "message"),
    [("name = ", "(at end of document)"), ("a = 1\nb = = 2", "line 2"), (OWN.replace("32M", "x"), "limits.memory")],
)
def test_a_bad_file_is_told_with_line_or_key(cloche: Run, tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    done = cloche("profiles", "check", str(path))
    assert done.returncode == 1
    assert f"{path}: " in done.stdout.decode()
    assert message in done.stdout.decode()


def test_a_program_runs_with_a_profile(cloche: Run, home: dict[str, str], tmp_path: Path, no_leaks: None) -> None:  # noqa: ARG001
    def run(*args: str) -> dict[str, object]:
        done = cloche("run", *args, "-o", "json", "--", "sh", "-c", "echo $FROM", env=home)
        assert done.returncode == 0, done.stderr
        out: dict[str, object] = json.loads(done.stdout)
        return out

    assert run("--profile", "own")["stdout"] == {"encoding": "utf-8", "data": "profile\n"}
    assert run("--profile", "own")["isolation"] == "standard"
    over = run("--profile", "own", "--isolation", "enhanced", "--network", "none", "-e", "FROM=here")
    assert (over["isolation"], over["stdout"]) == ("enhanced", {"encoding": "utf-8", "data": "here\n"})
    (tmp_path / "file.toml").write_text(OWN)
    assert run("--profile", str(tmp_path / "file.toml"))["isolation"] == "standard"


def test_an_unknown_profile_is_an_error_that_says_which_there_are(cloche: Run, home: dict[str, str]) -> None:
    for command in (("profiles", "show", "none-such"), ("run", "--profile", "none-such", "--", "true")):
        done = cloche(*command, env=home)
        assert done.returncode == 125
        assert b"known are agent-shell" in done.stderr


def test_each_profile_runs_what_it_is_for(no_leaks: None) -> None:  # noqa: ARG001
    with library.Host() as host:
        for name in sorted(BUNDLED):
            with host.create(profile=name) as box:
                assert box.exec("sh", "-c", "echo x > f && cat f").text == "x\n"
                assert box.enforcement.refusals(box.spec.needed()) == {}


def test_a_real_runtime_scores_no_worse_when_restricted(no_leaks: None) -> None:  # noqa: ARG001
    with library.Host() as host:
        steps: list[dict[str, object]] = [
            {"limits": {"memory": "64M"}}, {"network": "none"}, {"isolation": "enhanced"}, {"isolation": "maximum"},
        ]  # fmt: skip
        for runtime in host.runtimes:
            if host.unavailable(runtime) is not None:
                continue
            policy, last = library.Policy(isolation="standard", network=library.Network("host")), 10.0
            for step in steps:
                policy = policy.restrict(host.levels, **step)  # type: ignore[arg-type]
                with host.create(policy=policy, runtime=runtime, strict=False) as box:
                    now = library.score(box.spec, box.enforcement).number
                assert now <= last
                last = now
