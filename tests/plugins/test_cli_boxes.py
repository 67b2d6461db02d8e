"""Sandboxes that stay, by the command line: made, listed, worked in, looked at and deleted."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., subprocess.CompletedProcess[bytes]]
    Start = Callable[..., subprocess.Popen[bytes]]

pytestmark = pytest.mark.usefixtures("no_leaks")


def settle(done: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not done() and time.monotonic() < deadline:
        time.sleep(0.05)
    return done()


def listed(cloche: Run, *args: str) -> list[dict[str, Any]]:
    done = cloche("ps", *args, "-o", "json")
    assert (done.returncode, done.stderr) == (0, b"")
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


# -- create and ps ------------------------------------------------------------------------------------------------


def test_a_created_sandbox_stays_and_is_listed(cloche: Run, made: Callable[..., str]) -> None:
    box = made("--name", "one", "--", "sh", "-c", "echo begun; sleep 600")
    (row,) = listed(cloche)
    assert (row["id"], row["name"], row["state"], row["kept"]) == (box, "one", "running", True)
    assert row["metadata"]["program"] == "sh -c 'echo begun; sleep 600'"
    table = cloche("ps").stdout.decode()
    assert re.search(rf"{box} +one +\w+ +standard +running +\d+s +sh -c 'echo begun", table)
    assert max(len(line) for line in table.splitlines()) <= 80
    assert cloche("ps", "-q").stdout.decode() == f"{box}\n"


def test_creating_twice_by_one_name_is_creating_once(cloche: Run, made: Callable[..., str]) -> None:
    first = made("--name", "same", "--", "sh", "-c", "echo once >> count; sleep 600")
    assert made("--name", "same", "--", "sh", "-c", "echo once >> count; sleep 600") == first
    assert settle(lambda: cloche("exec", "same", "--", "cat", "count").stdout == b"once\n")


def test_a_program_that_can_not_be_started_leaves_no_sandbox(cloche: Run, ended: None) -> None:  # noqa: ARG001
    done = cloche("create", "--isolation", "standard", "-w", "/none-such", "--", "true")
    jobs = [] if done.returncode else listed(cloche)
    assert done.returncode == 125 or jobs  # where the folder is looked for later, the job says that it was refused


def test_a_policy_that_can_not_be_kept_is_refused_and_nothing_stays(cloche: Run, ended: None) -> None:  # noqa: ARG001
    done = cloche("create", "--require", "kernel", "--runtime", "process", "--isolation", "standard")
    assert done.returncode == 126
    assert b"kernel" in done.stderr
    assert listed(cloche, "-a") == []


def test_create_takes_a_profile_and_tells_all_as_json(cloche: Run, ended: None) -> None:  # noqa: ARG001
    done = cloche("create", "--name", "p", "--profile", "agent-shell", "-o", "json", "--", "sleep", "600")
    told = json.loads(done.stdout)
    assert (told["name"], told["job"]) == ("p", "j0")
    all_of_it = json.loads(cloche("inspect", "p", "-o", "json").stdout)
    assert all_of_it["spec"]["lifetime"] == 8 * 3600
    assert all_of_it["isolation"] == "enhanced"


def test_a_sandbox_of_a_killed_host_is_shown_as_an_orphan_once(cloche: Run, ended: None) -> None:  # noqa: ARG001
    script = (
        "import cloche, time\n"
        "with cloche.Host() as host:\n"
        "    print(host.create(isolation='standard', name='lost').id, flush=True)\n"
        "    time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        box = owner.stdout.readline().decode().strip()
        assert [row["id"] for row in listed(cloche)] == [box]
        owner.send_signal(signal.SIGKILL)
    assert re.search(rf"{box} +lost .* orphan ", cloche("ps").stdout.decode())
    assert listed(cloche, "-a") == []


def test_what_a_record_says_can_not_steer_the_terminal(cloche: Run, ended: None) -> None:  # noqa: ARG001
    script = (
        "import cloche, time\n"
        "with cloche.Host() as host:\n"
        "    host.create(isolation='standard', metadata={'program': 'a\\x1b]0;b\\nc\\x9b\\u202e\\udcff'})\n"
        "    print(flush=True)\n"
        "    time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        owner.stdout.readline()
        (row,) = listed(cloche)
        for command in (("ps",), ("inspect", row["id"])):
            shown = cloche(*command).stdout
            assert b"a\\x1b]0;b\\nc" in shown
            assert not {b"\x1b", b"\x9b", "\u202e".encode()} & {shown[i : i + 1] for i in range(len(shown))}
            assert "\u202e" not in shown.decode()
        owner.kill()


# -- exec, shell, logs --------------------------------------------------------------------------------------------


def test_a_program_runs_in_a_sandbox_that_is_there(cloche: Run, made: Callable[..., str]) -> None:
    box = made()
    done = cloche("exec", "-e", "A=b", box[:6], "--", "sh", "-c", "cat; echo $A; echo err >&2; exit 7", stdin=b"in\n")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"in\nb\n", b"err\n")
    done = cloche("exec", "-o", "json", box, "true")
    assert (json.loads(done.stdout)["exit_code"], json.loads(done.stdout)["sandbox"]) == (0, box)
    assert cloche("exec", box, "none-such-program").returncode == 127
    assert cloche("exec", "--timeout", "200ms", box, "sleep", "60").returncode == 124
    assert cloche("exec", box, "--").returncode == 2


def test_what_exec_started_ends_with_it(cloche: Run, start: Start, made: Callable[..., str]) -> None:
    box = made()
    running = start("exec", box, "--", "sh", "-c", "echo up; exec sleep 600")
    assert running.stdout is not None
    assert running.stdout.readline() == b"up\n"
    look = ("exec", box, "--", "sh", "-c", "cat /proc/[0-9]*/comm")
    assert b"sleep" in cloche(*look).stdout.split()
    running.kill()
    assert settle(lambda: b"sleep" not in cloche(*look).stdout.split())
    assert [row["id"] for row in listed(cloche)] == [box]


def test_a_signal_to_exec_ends_the_program_and_not_the_sandbox(
    cloche: Run, start: Start, made: Callable[..., str]
) -> None:
    box = made("--", "sleep", "600")
    running = start("exec", box, "--", "sh", "-c", "echo up; sleep 600")
    assert running.stdout is not None
    running.stdout.readline()
    running.send_signal(signal.SIGTERM)
    assert running.wait(30) == 128 + signal.SIGTERM
    (job,) = json.loads(cloche("logs", "--list", box, "-o", "json").stdout)
    assert job["running"]


def test_a_detached_program_goes_on_and_its_output_can_be_read(cloche: Run, made: Callable[..., str]) -> None:
    box = made("--", "sh", "-c", "echo first; exit 3")
    job = cloche("exec", "-d", box, "--", "sh", "-c", "echo out; echo err >&2; sleep 1; echo late").stdout.decode()
    followed = cloche("logs", "-f", box)
    assert (followed.returncode, followed.stdout, followed.stderr) == (0, b"out\nlate\n", b"err\n")
    assert cloche("logs", box, job.strip()).stdout == b"out\nlate\n"
    assert cloche("logs", "-f", box, "j0").returncode == 3
    told = json.loads(cloche("logs", box, "j0", "-o", "json").stdout)
    assert (told["exit_code"], told["output"][0]["data"]) == (3, "first\n")
    assert b"j0" in cloche("logs", "--list", box).stdout
    assert cloche("logs", box, "none-such").returncode == 125


def test_a_shell_takes_commands_from_standard_input(cloche: Run, made: Callable[..., str]) -> None:
    done = cloche("shell", made(), stdin=b"echo $((6 * 7)); exit 9\n")
    assert (done.returncode, done.stdout) == (9, b"42\n")


# -- the whole sandbox --------------------------------------------------------------------------------------------


def test_a_sandbox_is_paused_resumed_killed_and_deleted(cloche: Run, made: Callable[..., str]) -> None:
    box = made("--name", "life", "--", "sleep", "600")
    assert cloche("pause", "life").stdout == b"life: paused\n"
    assert [row["state"] for row in listed(cloche)] == ["paused"]
    assert cloche("resume", box).returncode == 0
    refused = cloche("rm", "life")
    assert refused.returncode == 125
    assert b"a job still runs in it" in refused.stderr
    assert cloche("kill", "-s", "TERM", "life").returncode == 0
    assert settle(lambda: not json.loads(cloche("logs", "--list", box, "-o", "json").stdout)[0]["running"])
    assert cloche("kill", "life").returncode == 0
    assert listed(cloche) == []
    assert [row["state"] for row in listed(cloche, "-a")] == ["stopped"]
    assert cloche("rm", "life").stdout == b"life: deleted\n"
    assert listed(cloche, "-a") == []


def test_one_that_fails_keeps_no_other_from_being_done(cloche: Run, made: Callable[..., str]) -> None:
    box = made()
    done = cloche("rm", "none-such", box)
    assert done.returncode == 125
    assert b"there is no sandbox 'none-such'; `cloche ps -a` shows" in done.stderr
    assert listed(cloche, "-a") == []


def test_all_are_deleted_at_once(cloche: Run, made: Callable[..., str]) -> None:
    made()
    made("--", "sleep", "600")
    assert cloche("rm", "--all").returncode == 125  # a job runs in one of them
    assert len(listed(cloche)) == 1
    assert cloche("rm", "--all", "-f").returncode == 0
    assert listed(cloche, "-a") == []


def test_sandboxes_of_running_programs_are_deleted_by_name_only(cloche: Run, made: Callable[..., str]) -> None:
    made()
    script = (
        "import cloche, time\n"
        "with cloche.Host() as host:\n"
        "    print(host.create(isolation='standard').id, flush=True)\n"
        "    time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        theirs = owner.stdout.readline().decode().strip()
        assert cloche("rm", "-f", "--all").returncode == 0
        assert [row["id"] for row in listed(cloche)] == [theirs]
        assert cloche("rm", theirs).returncode == 0
        assert listed(cloche) == []
        owner.kill()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("rm",), b"--all or --orphans"),
        (("rm", "--all", "x"), b"not both"),
        (("kill", "-s", "NONSENSE", "{}"), b"NONSENSE"),
        (("kill", "-s", "TERM", "{}"), b"no job runs in it"),
        (("logs", "{}"), b"has no job"),
        (("exec", "no such", "true"), b"'no such' is not a name"),
        (("exec", "none-such", "true"), b"there is no sandbox 'none-such'"),
        (("inspect", "../x"), b"is not a name"),
        (("exec", "-t", "{}", "true"), b"standard input is not a terminal"),
        (("create", "--name", "a b"), b"'a b' is not a name"),
        (("create", "--profile", "none-such"), b"'none-such' is unknown"),
        (("stats", "none-such"), b"there is no sandbox"),
    ],
)
def test_what_makes_no_sense_is_told_in_one_line(
    cloche: Run, made: Callable[..., str], args: tuple[str, ...], message: bytes
) -> None:
    box = made() if "{}" in args else ""
    done = cloche(*(arg.replace("{}", box) for arg in args))
    assert done.returncode in {2, 125}
    assert message in done.stderr
    assert b"Traceback" not in done.stderr


def test_what_a_sandbox_uses_is_shown(cloche: Run, made: Callable[..., str]) -> None:
    box = made("--name", "busy", "--memory", "64M", "--", "sh", "-c", "while :; do :; done")
    (row,) = json.loads(cloche("stats", "--once", "-o", "json", "busy").stdout)
    assert (row["id"], row["state"], row["error"]) == (box, "running", None)
    assert row["processors"] > 0.05
    table = cloche("stats").stdout.decode()  # without a terminal it is shown once
    assert re.search(r"busy +running +\d+%", table)
    assert max(len(line) for line in table.splitlines()) <= 80
    assert json.loads(cloche("stats", "--once", "-o", "json").stdout)[0]["id"] == box


def test_all_about_a_sandbox_is_shown(cloche: Run, made: Callable[..., str]) -> None:
    box = made("--name", "whole", "-e", "SECRET=x1y2", "--memory", "64M", "--", "sleep", "600")
    told = json.loads(cloche("inspect", "whole", "-o", "json").stdout)
    assert (told["id"], told["name"], told["env"]["SECRET"]) == (box, "whole", "x1y2")
    assert told["jobs"][0]["args"] == ["sleep", "600"]
    assert 0 < told["score"] < 10
    text = cloche("inspect", "whole").stdout.decode()
    for part in ("whole", "64M", "sleep 600", "the keeper", "what is kept", "score"):
        assert part in text
    assert "x1y2" not in text
    assert max(len(line) for line in text.splitlines()) <= 80


def test_names_are_completed(cloche: Run, made: Callable[..., str]) -> None:
    made("--name", "alpha")
    done = cloche(env={"_CLOCHE_COMPLETE": "bash_complete", "COMP_WORDS": "cloche exec al", "COMP_CWORD": "2"})
    assert done.stdout.split() == [b"plain,alpha"]
