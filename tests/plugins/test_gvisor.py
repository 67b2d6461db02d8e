"""Boxes of real gVisor sandboxes, and runscs that are missing, old, hanging, or break half-way."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Literal

import pytest

import cloche
import cloche.request
from cloche import Host, Mount, RuntimeUnavailable, SpecError, StartError, Workspace
from cloche.testing import RuntimeConformance
from cloche_gvisor import agent, binary, bundle, preload, runtime
from cloche_gvisor.runtime import GvisorRuntime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Kind = Literal["tmpfs", "bind", "overlay", "image"]
RUNSC = shutil.which("runsc")
needs_runsc = pytest.mark.skipif(RUNSC is None, reason="runsc is not here")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has work folders of a size")


class TestGvisor(RuntimeConformance):
    runtime = GvisorRuntime


@pytest.fixture
def host(host_of: Callable[[str], Host]) -> Host:
    return host_of("gvisor")


@pytest.fixture
def use(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Give a function that makes a shell script the runsc to be used."""

    def write(script: str) -> Path:
        path = open_folder / "runsc"
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(0o755)
        monkeypatch.setenv("CLOCHE_RUNSC", str(path))
        return path

    return write


VERSION = '[ "$1" = --version ] && { echo runsc version 0.0~20221219.0; exit; }\n'
RUN = 'case "$*" in *" run "*) '
"""What a broken one does is written between this and ``esac``."""


def family(folder: Path) -> list[str]:
    """Give the processes that have a path below ``folder`` in their arguments."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:  # it ended while we looked
            continue
        if os.fsencode(folder) in words:
            found.append(words.replace(b"\0", b" ").decode(errors="replace"))
    return found


# -- runscs that will not do -----------------------------------------------------------------------------------------


def test_a_missing_runsc_is_named_with_the_way_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOCHE_RUNSC", "/no/such/runsc")
    reason = GvisorRuntime().unavailable()
    assert reason is not None
    assert "/no/such/runsc does not run" in reason
    assert "cloche install gvisor" in reason
    monkeypatch.delenv("CLOCHE_RUNSC")
    monkeypatch.setenv("PATH", "/no/such/folder")
    assert "no runsc was found" in (GvisorRuntime().unavailable() or "")


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo runsc version 0.0~20210419.0", "is of 20210419, older than 20220101"),
        ("echo runsc version release-20200115.0-1-gdeadbeef", "older than"),
        ("echo something else 20221219", "something else"),
        ("echo runsc version", "does not run"),
        ("exit 1", "does not run"),
        ("kill -9 $$", "does not run"),
        ("printf '\\377'", "does not run"),
    ],
)
def test_an_ancient_or_broken_runsc_is_not_used(use: Callable[[str], Path], script: str, says: str) -> None:
    use(script)
    with Host() as host:
        assert says in (host.unavailable("gvisor") or "")
        with pytest.raises(RuntimeUnavailable, match="cloche install gvisor"):
            host.create(runtime="gvisor")


def test_one_that_never_says_its_version_is_given_up(
    use: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binary, "SECONDS", 0.3)
    use("exec sleep 60")
    assert "does not say its version within 0.3 s" in (GvisorRuntime().unavailable() or "")


@pytest.mark.parametrize(
    ("act", "says"),
    [
        ("echo 'cannot create sandbox: no such thing' >&2; exit 1", "cannot create sandbox: no such thing"),
        ("exit 0", "runsc made no sandbox"),
        ("kill -SEGV $$", "runsc made no sandbox"),
        ("head -c 200000 /dev/zero >&2; exec sleep 60", "not ready within"),
    ],
)
@pytest.mark.usefixtures("no_leaks")
def test_a_runsc_that_makes_no_box_is_unavailable_with_its_own_words(
    use: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, act: str, says: str
) -> None:
    monkeypatch.setattr(agent, "READY_TIMEOUT", 1.0)
    use(VERSION + act)
    one = GvisorRuntime()
    assert says in (one.unavailable() or "")
    one.close()


@needs_runsc
@pytest.mark.usefixtures("no_leaks")
def test_a_platform_that_hangs_is_given_up_and_the_next_is_used(
    use: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "PLATFORMS", ("hangs", "ptrace"))
    monkeypatch.setattr(agent, "READY_TIMEOUT", 0.5)
    use(f'case "$*" in *--platform=hangs*) exec sleep 60;; esac\nexec {RUNSC} "$@"')
    monkeypatch.setattr(binary, "platforms", lambda _: frozenset())  # one that does not say what it has
    one = GvisorRuntime()
    one._platforms = runtime.PLATFORMS
    real = agent.SandboxAgent.start

    async def patient(self: agent.SandboxAgent) -> None:
        if "--platform=ptrace" in self._launch.argv:
            monkeypatch.setattr(agent, "READY_TIMEOUT", 20.0)
        await real(self)

    monkeypatch.setattr(agent.SandboxAgent, "start", patient)
    assert one.unavailable() is None
    rows = {check.name: check for check in one.checks()}
    assert "not ready within 0.5 s" in rows["platform hangs"].found
    assert rows["platform ptrace"].ok
    one.close()


@needs_runsc
@pytest.mark.usefixtures("no_leaks")
def test_a_platform_that_a_runsc_does_not_have_is_not_tried_and_told(use: Callable[[str], Path]) -> None:
    use(f'case "$*" in *--platform=abacus*) exec sleep 60;; esac\nexec {RUNSC} "$@"')
    one = GvisorRuntime()
    one._platforms = ("abacus", "ptrace")
    assert one.unavailable() is None
    rows = {check.name: check for check in one.checks()}
    assert "not one of this runsc's, which are" in rows["platform abacus"].found
    assert (rows["platform abacus"].ok, rows["platform ptrace"].ok) == (None, True)
    one.close()


@pytest.mark.parametrize(
    ("script", "has"),
    [
        ("echo kvm; echo ptrace", {"kvm", "ptrace"}),
        ("exit 0", set()),
        ("echo ptrace; exit 1", set()),
        ("echo 'Usage: runsc'", set()),
        ("printf '\377'", set()),
        ("exec sleep 60", set()),
    ],
)
def test_what_a_runsc_says_of_its_platforms_is_checked(
    use: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, script: str, has: set[str]
) -> None:
    monkeypatch.setattr(binary, "SECONDS_TO_TELL", 0.5)
    assert binary.platforms(use(script)) == has


def test_the_platform_that_hangs_on_some_machines_is_never_tried_by_itself() -> None:
    assert "kvm" not in runtime.PLATFORMS


def test_a_platform_is_chosen_by_configuration_and_one_that_is_none_is_told() -> None:
    with Host(config={"plugins": {"gvisor": {"platform": "abacus"}}}) as host:
        reason = host.unavailable("gvisor") or ""
    assert "abacus" in reason or RUNSC is None
    with Host(config={"plugins": {"gvisor": {"platform": "a b"}}}) as host:
        assert any("the name of a platform is needed" in str(record.error) for record in host.plugins.records)


@needs_runsc
@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize(
    ("act", "says"),
    [
        ("echo out of order >&2; exit 1", "out of order"),
        ('exec 3<&0; {real} "$@" <&3 3<&- & sleep 0.06; kill -9 $!; wait; echo killed >&2; exit 1', "killed"),
        ('{real} "$@"; kill -9 $$', "runsc ended with -9"),
    ],
    ids=["at once", "killed half-way", "at the end"],
)
def test_one_that_breaks_after_the_probe_is_a_start_error_that_leaves_nothing(
    use: Callable[[str], Path], open_folder: Path, monkeypatch: pytest.MonkeyPatch, act: str, says: str
) -> None:
    monkeypatch.setenv("TMPDIR", str(open_folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    broken = f"[ -e {open_folder}/broken ] && {RUN} {act.replace('{real}', str(RUNSC))};; esac"
    use(f'{broken}\nexec {RUNSC} "$@"')
    with Host(config={"host": {"runtime": "gvisor"}}) as host:
        assert host.run("echo", "hi").text == "hi\n"
        (open_folder / "broken").touch()
        with pytest.raises(StartError, match=says):
            host.create()
        assert host.sandboxes() == []
        assert family(open_folder) == []
        assert list(open_folder.glob("cloche-*/*")) == []


@needs_runsc
@pytest.mark.usefixtures("no_leaks")
def test_an_id_that_is_taken_on_this_machine_is_a_start_error(
    host: Host, host_of: Callable[[str], Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    with host.create(isolation="standard") as box:
        monkeypatch.setattr(cloche.request, "secrets", SimpleNamespace(token_hex=lambda _: box.id))
        other = host_of("gvisor")
        with pytest.raises(cloche.ClocheError):
            other.create(isolation="standard")
        assert box.exec("echo", "still here").text == "still here\n"


# -- what a box is -----------------------------------------------------------------------------------------------------


def test_a_box_has_a_kernel_of_its_own(host: Host) -> None:
    with host.create(isolation="standard", require=["kernel"]) as box:
        assert box.exec("uname", "-r").text.strip() != os.uname().release
        assert "gVisor" in str(box.enforcement["kernel"])


def test_nothing_of_the_host_is_in_its_root_folder(host: Host) -> None:
    with host.create(isolation="standard") as box:
        names = set(box.exec("python3", "-c", "import os; print(*os.listdir('/'))").text.split())
        expected = {"usr", "etc", "dev", "proc", "sys", "tmp", "run", "workspace", ".cloche"}
        optional = {"bin", "sbin", "lib", "lib32", "lib64", "libx32", ".cloche-statx.so"}
        assert names - optional == expected
        assert not box.exec("sh", "-c", "echo x > /new").ok
        assert not box.exec("cat", "/etc/shadow").ok


def test_an_exit_code_of_runscs_own_is_the_guests_when_the_guest_says_it(host: Host) -> None:
    with host.create(isolation="standard") as box:
        done = box.exec("sh", "-c", "exit 128")
        assert (done.exit_code, done.reason) == (128, "exited")


def test_user_0_is_refused(host: Host) -> None:
    with pytest.raises(cloche.Unenforceable, match="root in the guest"):
        host.create(isolation="standard", user=0)
    with pytest.raises(SpecError, match="root in the guest"):
        host.create(isolation="standard", user=0, strict=False)


@pytest.mark.parametrize("user", [1, 1000, 65534])
def test_any_other_user_owns_its_work_folder(host: Host, user: int) -> None:
    with host.create(isolation="standard", user=user, strict=False) as box:
        assert box.exec("sh", "-c", "echo x > made && id -u").text == f"{user}\n"
        assert box.files.read("/workspace/made") == b"x\n"


# -- folders -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def given(tmp_path: Path) -> Path:
    folder = tmp_path / "given"
    (folder / "below").mkdir(parents=True)
    (folder / "old").write_text("old\n")
    (folder / "below" / "deep").write_text("deep\n")
    (folder / "secret").write_text("of root\n")
    (folder / "secret").chmod(0o600)
    return folder


@needs_root
@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("kind", ["tmpfs", "bind", "overlay", "image"])
def test_every_kind_of_work_folder_is_written_by_guest_and_host_alike(host: Host, given: Path, kind: Kind) -> None:
    source = str(given) if kind in ("bind", "overlay") else None
    limits = {"disk": "16M"} if kind != "bind" else {}
    with host.create(isolation="standard", workspace=Workspace(kind, source), limits=limits) as box:
        if source is not None:
            assert box.exec("cat", "old", "below/deep", "secret").text == "old\ndeep\nof root\n"
        box.exec("sh", "-c", "echo guest > by-guest; mkdir d; echo more >> old").check()
        assert box.files.read("/workspace/by-guest") == b"guest\n"
        box.files.write("/workspace/d/by-host", b"host\n")
        assert box.exec("sh", "-c", "echo again >> d/by-host; cat d/by-host").text == "host\nagain\n"
        assert box.files.read("/workspace/old").endswith(b"more\n")
    left = {path.name: (path.stat().st_uid, path.read_text()) for path in given.iterdir() if path.is_file()}
    assert left["secret"] == (0, "of root\n")
    assert left["old"] == (0, "old\nmore\n" if kind == "bind" else "old\n")
    assert left.get("by-guest", (0, "guest\n")) == (0, "guest\n")
    assert ("by-guest" in left) is (kind == "bind")


@needs_root
@pytest.mark.parametrize("kind", ["tmpfs", "overlay", "image"])
def test_a_work_folder_has_a_size(host: Host, given: Path, kind: Kind) -> None:
    source = str(given) if kind == "overlay" else None
    with host.create(isolation="standard", workspace=Workspace(kind, source), limits={"disk": "8M"}) as box:
        assert box.exec("dd", "if=/dev/zero", "of=big", "bs=1M", "count=4").ok
        assert b"No space" in box.exec("dd", "if=/dev/zero", "of=bigger", "bs=1M", "count=16").stderr
        assert b"No space" in box.exec("dd", "if=/dev/zero", "of=/tmp/big", "bs=1M", "count=16").stderr
        assert b"No space" in box.exec("dd", "if=/dev/zero", "of=/dev/shm/big", "bs=1M", "count=16").stderr
        if kind == "tmpfs":
            assert box.stats()["disk_size"] == 8 << 20
            box.update(limits={"disk": "24M"})
            assert "keep the size they were made with" in str(box.enforcement["disk"])
            assert box.exec("dd", "if=/dev/zero", "of=bigger", "bs=1M", "count=16").ok


@needs_root
def test_a_mount_where_the_box_has_a_folder_of_its_own_is_there_in_its_place(host: Host, given: Path) -> None:
    mounts = [Mount(str(given), "/etc", read_only=False)]
    with host.create(isolation="standard", mounts=mounts, limits={"disk": None}, strict=False) as box:
        box.exec("sh", "-c", "cat /etc/old && echo new > /etc/new && [ ! -e /etc/passwd ]").check()
    assert (given / "new").read_text() == "new\n"


@needs_root
def test_mounts_are_read_only_or_the_callers_and_a_file_is_one_too(host: Host, given: Path) -> None:
    mounts = [
        Mount(str(given), "/given"),
        Mount(str(given / "below"), "/open", read_only=False),
        Mount(str(given / "old"), "/workspace/one/file"),
        Mount(str(given / "secret"), "/usr/share/common-licenses/GPL-3"),
    ]
    with host.create(isolation="standard", mounts=mounts, limits={"disk": None}) as box:
        assert box.exec("cat", "/given/old", "/workspace/one/file").text == "old\nold\n"
        assert box.exec("cat", "/usr/share/common-licenses/GPL-3").text == "of root\n"
        assert not box.exec("sh", "-c", "echo x > /given/new").ok
        assert not box.exec("sh", "-c", "echo x > /workspace/one/file").ok
        box.exec("sh", "-c", "echo new > /open/new").check()
        assert box.files.read("/open/new") == b"new\n"
    made = given / "below" / "new"
    assert (made.read_text(), made.stat().st_uid) == ("new\n", 0)


def test_what_the_host_changes_in_a_mount_is_seen_at_once(host: Host, given: Path) -> None:
    (given / "data").write_text("old")
    look = ("sh", "-c", "cat /data/data /data/more 2>&1")
    with host.create(isolation="standard", strict=False, mounts=[Mount(str(given), "/data")]) as box:
        assert box.exec(*look).text.startswith("oldcat: ")
        (given / "data").write_text("longer than before")
        (given / "more").write_text(", and more")
        assert box.exec(*look).text == "longer than before, and more"


def test_the_sentry_remembers_what_it_saw_of_the_system_unless_that_is_mounted_too() -> None:
    system, other = bundle.Bind("/usr", "/usr", "/usr", lasting=True), bundle.Bind("/data", "/srv", "/srv")
    again = bundle.Bind("/mine", "/usr", "/usr", read_only=False)
    hinted = {"dev.gvisor.spec.mount.m0.source": "/usr", "dev.gvisor.spec.mount.m0.share": "container"}
    assert hinted.items() <= bundle.hints([system, other]).items()
    assert bundle.hints([system, other, again]) == {}


def test_a_mount_that_has_no_place_is_refused_and_makes_none_on_the_host(host: Host, given: Path) -> None:
    place = "/usr/share/cloche-was-here"
    for target, says in ((place, "has no such folder"), ("/proc/x", "made by the box"), ("/dev/x", "made by the box")):
        with pytest.raises(SpecError, match=says):
            host.create(isolation="standard", mounts=[Mount(str(given), target)], strict=False)
    assert not Path(place).exists()


# -- limits ------------------------------------------------------------------------------------------------------------

HOG = "x = bytearray(600 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1\nprint('full')"


@needs_root
def test_what_goes_over_the_memory_is_told_from_what_was_killed(host: Host) -> None:
    limits = {"memory": "128M"}
    with host.create(isolation="standard", limits=limits) as box:
        done = box.exec("python3", "-c", HOG)
        assert (done.reason, done.stdout) == ("out_of_memory", b"")
        assert box.wait() == "out_of_memory"
    with host.create(isolation="standard", limits=limits) as box:
        done = box.exec("sh", "-c", "kill -9 $$")
        assert (done.reason, done.signal) == ("signalled", 9)
        assert box.exec("true").ok


def test_limits_of_each_process_are_kept_in_the_guest(host: Host) -> None:
    limits = {"open_files": 64, "file_size": "1M", "pids": 16}
    with host.create(isolation="standard", limits=limits, strict=False) as box:
        assert box.exec("sh", "-c", "ulimit -n; ulimit -c").text == "64\n0\n"
        write = "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); open('f', 'wb').write(bytes(2 << 20))"
        assert b"File too large" in box.exec("python3", "-c", write).stderr
        forks = "import os\nfor n in range(40):\n    if os.fork() == 0: os.execlp('sleep', 'sleep', '60')"
        assert b"BlockingIOError" in box.exec("python3", "-c", forks).stderr
        assert box.exec("echo", "on").text == "on\n"


@needs_root
def test_a_share_of_a_processor_is_kept(host: Host) -> None:
    with host.create(isolation="standard", limits={"cpu": 0.25}) as box:
        before, began = box.stats()["cpu"], time.monotonic()
        box.exec("timeout", "2", "sh", "-c", "while :; do :; done")
        assert (box.stats()["cpu"] - before) / (time.monotonic() - began) < 0.4


# -- ends --------------------------------------------------------------------------------------------------------------


def test_a_paused_box_can_be_killed(host: Host) -> None:
    with host.create(isolation="standard", strict=False) as box:
        job = box.spawn("sleep", "60")
        box.pause()
        box.kill()
        assert job.wait(10).reason == "killed"


def test_programs_of_a_paused_box_get_other_limits_when_it_is_resumed(host: Host) -> None:
    with host.create(isolation="standard", strict=False, limits={"open_files": 64, "pids": 40}) as box:
        job = box.spawn("sh", "-c", "while read line; do ulimit -n; done", stdin=cloche.OPEN)
        box.pause()
        box.update(limits={"open_files": 48})
        box.update(limits={"open_files": 32, "pids": 30})
        assert "when the sandbox is resumed" in str(box.enforcement["open_files"])
        box.resume()
        job.write(b"now\n")
        assert next(job.lines()) == "32"
        assert box.exec("sh", "-c", "ulimit -n").text == "32\n"


FAMILY = "import os, time\nif os.fork() == 0: os.fork()\nprint('up', flush=True)\ntime.sleep(60)"


def test_a_program_of_a_paused_box_can_be_killed_and_the_box_goes_on(host: Host) -> None:
    with host.create(isolation="standard", strict=False) as box:
        job, other = box.spawn("python3", "-c", FAMILY), box.spawn("sleep", "60")
        lines = job.lines()
        assert [next(lines) for _ in range(3)] == ["up"] * 3
        box.pause()
        began = time.monotonic()
        job.kill()
        assert time.monotonic() - began < 5
        assert job.wait().signal == 9
        box.resume()
        assert "up" not in box.exec("sh", "-c", "cat /proc/[0-9]*/cmdline").text
        assert other.running


def test_a_program_whose_time_is_up_while_its_box_is_paused_ends(host: Host) -> None:
    with host.create(isolation="standard", strict=False) as box:
        job = box.spawn("sleep", "60", timeout=1)
        box.pause()
        assert job.wait(10).reason == "timeout"
        box.resume()
        assert box.exec("echo", "on").text == "on\n"


def test_a_start_that_the_guest_stalls_is_given_up(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloche_gvisor.instance.START_TIMEOUT", 1.0)
    with host.create(isolation="standard", strict=False) as box:
        assert box.exec("sh", "-c", "mkfifo pipe; chmod 755 pipe; echo '#!/workspace/pipe' > go; chmod 755 go").ok
        with pytest.raises(cloche.StartError, match="did not start within 1 s"):
            box.exec("./go")
        assert box.exec("sh", "-c", "echo /proc/[0-9]*").text.count("/proc/") <= 4
        assert box.exec("echo", "on").text == "on\n"


def test_a_sentry_that_is_killed_ends_the_box_and_that_is_told(host: Host) -> None:
    with host.create(isolation="standard", strict=False) as box:
        job = box.spawn("sleep", "60")
        os.kill(int(box.info()["agent_pid"]), 9)
        assert job.wait(10).signal == 9
        assert box.wait() == "the box went down by itself"


CYCLES = 500 if os.environ.get("CLOCHE_LONG") else 25


@pytest.fixture
def watched(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a folder for temporary files in which nothing, and of which no process, is left."""
    monkeypatch.setenv("TMPDIR", str(open_folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    yield open_folder
    deadline = time.monotonic() + 10
    while (left := [*open_folder.iterdir(), *family(open_folder)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("no_leaks", "watched")
def test_many_boxes_one_after_another_leave_nothing(host_of: Callable[[str], Host]) -> None:
    made = []
    host = host_of("gvisor")
    for number in range(CYCLES):
        with host.create(isolation="standard", strict=False) as box:
            made.append(box.id)
            assert box.exec("echo", str(number)).text == f"{number}\n"
    listening = Path("/proc/net/unix").read_text(errors="replace")
    assert [name for name in made if name in listening] == []


@needs_runsc
def test_files_are_listed_and_asked_for_by_the_usual_programs(host: Host) -> None:
    with host.create(isolation="standard") as box:
        listed = box.exec("ls", "-l", "/")
        assert (listed.exit_code, listed.stderr) == (0, b"")
        assert "workspace" in listed.text
        assert box.exec("stat", "-c", "%F", "/etc").text == "directory\n"
        assert "LD_PRELOAD" not in box.exec("env").text


def test_the_folder_that_names_the_library_is_made_once_and_whole(tmp_path: Path) -> None:
    etc = tmp_path / "etc-1"
    etc.mkdir()
    (etc / "passwd").write_text("guest")
    for _ in range(2):
        made = preload.etc_with_preload(etc)
        assert (made / "passwd").read_text() == "guest"
        assert (made / "ld.so.preload").read_text() == preload.LIBRARY
    assert {path.name for path in tmp_path.iterdir()} == {"etc-1", "etc-1-preload"}
    with pytest.raises(OSError, match="nowhere"):
        preload.etc_with_preload(tmp_path / "nowhere")
    assert {path.name for path in tmp_path.iterdir()} == {"etc-1", "etc-1-preload"}


def test_only_a_gvisor_of_before_it_was_mended_gets_the_library() -> None:
    old, new = (binary.Runsc(Path("/runsc"), "", day) for day in (20221219, 20230221))
    assert preload.is_needed(old)
    assert preload.what_is_mended(old)[0].ok is None
    assert not preload.is_needed(new)
    assert not preload.what_is_mended(new)
    assert not preload.is_needed(None)
