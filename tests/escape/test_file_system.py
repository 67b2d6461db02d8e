"""Roads out of the box's view of files: paths, links, /proc, mounts, devices, descriptors."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import cloche_native
from cloche import Mount
from tests.escape.attack import Attack, Sight, attack, attacks, own_kernel

if TYPE_CHECKING:
    from cloche import Job, Result, Sandbox
    from tests.escape.conftest import Create, Target

Strike = Callable[..., Sight]
Stopped = Callable[[str], None]
LEVELS = ("enhanced", "maximum")
SECRET = "of the host\n"  # noqa: S105 - what attack programs look for


class Outside:
    """Folders of the host: ``hidden`` is not shown to the box, ``shown`` is, read-only. Anybody may write to both."""

    def __init__(self, top: Path) -> None:
        self.top, self.hidden, self.shown = top, top / "hidden", top / "shown"
        for folder in (top, self.hidden, self.shown):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o777)
            (folder / "secret").write_text(SECRET)
            (folder / "secret").chmod(0o666)
        self.secret, self.visible = str(self.hidden / "secret"), str(self.shown / "secret")
        self._before = self.look()

    def look(self) -> list[tuple[object, ...]]:
        """Give all that a guest could change: names, contents, modes, owners, links, times."""
        found: list[tuple[object, ...]] = []
        for path in sorted(self.top.rglob("*")):
            status = path.lstat()
            text = path.read_bytes() if path.is_file() else b""
            found.append((path, text, status.st_mode, status.st_uid, status.st_nlink, status.st_mtime_ns))
        return found

    def unchanged(self) -> bool:
        """Say whether all is as it was."""
        return self.look() == self._before


@pytest.fixture(scope="module")
def outside(nothing_is_left: None) -> Iterator[Outside]:  # noqa: ARG001 - it outlives this
    top = Path(tempfile.mkdtemp(prefix="outside-"))
    yield Outside(top)
    shutil.rmtree(top)


@pytest.fixture(scope="module")
def exposed_box(target: Target, outside: Outside) -> Iterator[Sandbox | None]:
    if target.reason:
        yield None
        return
    with target.create(mounts=[Mount(str(outside.shown), str(outside.shown))]) as box:
        box.exec("true").check()
        yield box


@pytest.fixture
def exposed(exposed_box: Sandbox, claimed: None, outside: Outside) -> Iterator[Sandbox]:  # noqa: ARG001 - checked first
    """Give a box that is shown ``outside.shown``, read-only; nothing outside may have changed afterwards."""
    yield exposed_box
    assert outside.unchanged()


# -- paths -----------------------------------------------------------------------------------------------------------

ROADS = [
    ("path-absolute", "the absolute path of a host file", "{hidden}"),
    ("path-dots", "more '..' than there are folders", "../../../../../../../../../..{hidden}"),
    ("path-doubled", "doubled and dotted slashes", "//.//..//.//{hidden}"),
    ("path-through-link", "an absolute link in its work folder", "link"),
    ("path-through-linked-folder", "a link to the root folder above", "up{hidden}"),
    ("path-through-shown", "'..' out of a folder that it is shown", "{shown}/../hidden/secret"),
    ("proc-self-root", "/proc/self/root", "/proc/self/root{hidden}"),
    ("proc-1-root", "the root folder of process 1", "/proc/1/root{hidden}"),
    ("proc-self-cwd", "/proc/self/cwd and up", "/proc/self/cwd/../../../../../..{hidden}"),
    ("proc-thread-self", "/proc/thread-self/root", "/proc/thread-self/root{hidden}"),
]


@attacks(
    [Attack(id=name, tries=tries, breaks="filesystem", program=(road,)) for name, tries, road in ROADS], levels=LEVELS
)
def test_a_file_of_the_host_is_not_read_or_opened_by(
    attack: Attack, exposed: Sandbox, outside: Outside, strike: Strike, stopped: Stopped
) -> None:
    road = attack.program[0].format(hidden=outside.secret, shown=outside.shown)
    exposed.exec("sh", "-c", f"ln -sfn {outside.secret} link; ln -sfn ../../../../../../../.. up")
    assert strike(exposed, "files", "read", outside.visible).done
    found = strike(exposed, "files", "read", road)
    assert not found.done, found
    assert not strike(exposed, "files", "open-to-write", road).done
    stopped(found.words())


@attack("proc-everywhere", "root, cwd and every descriptor of every process in /proc", "filesystem", levels=LEVELS)
def test_no_process_in_proc_leads_to_a_file_of_the_host(
    exposed: Sandbox, outside: Outside, strike: Strike, open_box: Callable[..., Sight], stopped: Stopped
) -> None:
    assert open_box("files", "through-proc", outside.secret, binds=(outside.hidden,)).done
    found = strike(exposed, "files", "through-proc", outside.secret)
    assert not found.done, found
    stopped("/proc is closed" if found.error == "EACCES" else "its own processes only, in the same view")


@attack("shown-changed", "write, rename, remove, re-mode, re-time a file that it is shown", "filesystem", levels=LEVELS)
def test_a_file_that_is_shown_can_not_be_changed_by_any_call(
    exposed: Sandbox, outside: Outside, strike: Strike, stopped: Stopped
) -> None:
    exposed.exec("sh", "-c", "echo mine > mine").check()
    assert strike(exposed, "files", "change", "mine").done
    exposed.exec("sh", "-c", "echo mine > mine").check()
    assert strike(exposed, "files", "open-to-write", "mine").done
    for path in (outside.visible, str(outside.shown)):
        found = strike(exposed, "files", "change", path)
        assert not found.done, found
    assert not strike(exposed, "files", "open-to-write", outside.visible).done
    stopped(found.words())


@attack("system-changed", "the same with the system's folders and files", "filesystem", levels=LEVELS)
def test_the_system_can_not_be_changed_by_any_call(shared: Sandbox, strike: Strike, stopped: Stopped) -> None:
    places = ["/usr", "/usr/bin/env", "/etc/passwd", "/bin/sh", "/usr/lib"]
    before = [(os.stat(place).st_mode, os.stat(place).st_mtime_ns, os.stat(place).st_size) for place in places]
    shared.exec("sh", "-c", "echo mine > own").check()
    assert strike(shared, "files", "change", "own").done
    tried = [strike(shared, "files", act, place) for place in places for act in ("change", "open-to-write")]
    assert not [found for found in tried if found.done]
    assert [(os.stat(p).st_mode, os.stat(p).st_mtime_ns, os.stat(p).st_size) for p in places] == before
    stopped(tried[-2].words())


SECRETS = """/etc/shadow /etc/gshadow /root/.profile /var/log/dpkg.log /proc/kcore /proc/1/environ /dev/mem /dev/kmsg
/dev/port /dev/fuse /dev/kvm /dev/net/tun /dev/sda /dev/vda /sys/kernel/debug /run/docker.sock /boot""".split()


@attack(
    "secrets-read", "what only root reads: shadow, logs, kcore, memory and block devices", "filesystem", levels=LEVELS
)
def test_what_only_root_reads_is_not_read(shared: Sandbox, stopped: Stopped) -> None:
    assert shared.exec("head", "-c", "4", "/etc/passwd").text == "root"
    for path in (name for name in SECRETS if os.path.exists(name)):
        if path == "/proc/1/environ" and own_kernel(shared):
            assert shared.exec("cat", path).stdout == b"HOME=/root\0"  # of the guest's own kernel, whole
            continue
        done = shared.exec(
            "sh", "-c", f"head -c 1 {path} 2>/dev/null | wc -c; ls {path}/ 2>/dev/null | wc -l", timeout=10
        )
        assert done.text.split() == ["0", "0"], path
    stopped("not there, or no access")


KNOBS = """/proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sys/kernel/hostname /proc/sysrq-trigger
/proc/sys/fs/binfmt_misc/register /proc/sys/vm/overcommit_memory /sys/kernel/uevent_helper /sys/power/state
/sys/fs/cgroup/memory/release_agent /sys/fs/cgroup/pids/release_agent /sys/fs/cgroup/memory/notify_on_release
/sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/memory/cgroup.procs /sys/fs/cgroup/pids/tasks /proc/acpi/wakeup
/proc/irq/default_smp_affinity /sys/module/kernel/parameters/panic""".split()
OWN_KNOBS = [
    Attack(
        id="proc-sys", tries="kernel settings: core_pattern, modprobe, sysrq", breaks="filesystem", program=("/proc",)
    ),
    Attack(id="sysfs", tries="kernel settings in sysfs: uevent_helper, power", breaks="filesystem", program=("/sys/",)),
    Attack(
        id="release-agent", tries="a program for the host's kernel to start, by control groups (CVE-2022-0492)",
        breaks="filesystem", program=("/sys/fs/cgroup/",),
    ),
]  # fmt: skip


@attacks(OWN_KNOBS, levels=LEVELS)
def test_no_setting_of_the_kernel_is_opened_for_writing_in(
    attack: Attack, shared: Sandbox, strike: Strike, stopped: Stopped
) -> None:
    shared.exec("sh", "-c", "echo knob > release_agent").check()
    assert strike(shared, "files", "open-to-write", "release_agent").done
    tried = [path for path in KNOBS if path.startswith(attack.program[0]) and os.path.exists(path)]
    before = _settings(tried)
    met = set()
    for path in tried:
        found = strike(shared, "files", "open-to-write", path)
        assert not found.done, path
        met.add(found.words())
    assert _settings(tried) == before
    stopped("; ".join(sorted(met)))


def _settings(paths: list[str]) -> list[str]:
    lists = ("procs", "tasks", "trigger")  # who is in a group changes by itself; the trigger can't be read
    return [Path(path).read_text(encoding="ascii") for path in paths if not path.endswith(lists)]


@attack("cgroup-migration", "leave its control group", "memory", levels=("enhanced",))
def test_a_process_can_not_leave_its_control_group(create: Create, stopped: Stopped) -> None:
    box = create()
    leave = "for d in /sys/fs/cgroup /sys/fs/cgroup/*; do for f in cgroup.procs tasks; do echo $$ > $d/$f; done; done"
    job = box.spawn("sh", "-c", f"({leave}) 2>/dev/null; echo tried; exec sleep 4721.5")
    assert next(job.lines()) == "tried"
    found = [pid for pid in os.listdir("/proc") if pid.isdecimal() and b"4721.5" in _cmdline(pid)]
    agent = Path(f"/proc/{box.info()['agent_pid']}/cgroup").read_text(encoding="ascii")
    if not own_kernel(box):
        assert [Path(f"/proc/{pid}/cgroup").read_text(encoding="ascii") for pid in found] == [agent]
    assert "cloche" in agent
    job.kill()
    stopped("ENOENT or EACCES; it is still in its group")


def _cmdline(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # it ended while we looked
        return b""


# -- the agent -------------------------------------------------------------------------------------------------------

AGENT = [
    Attack(
        id="init-overwritten", tries="overwrite cloche-init through /proc (CVE-2019-5736)", breaks="filesystem",
        program=("files", "overwrite-program"),
    ),
    Attack(
        id="init-memory", tries="write the agent's and the shepherd's memory through /proc/<pid>/mem", breaks="process",
        program=("files", "write-memory"),
    ),
]  # fmt: skip


@attacks(AGENT, levels=LEVELS)
def test_the_agent_can_not_be_taken_over_by(
    attack: Attack, create: Create, strike: Strike, open_box: Callable[..., Sight], stopped: Stopped
) -> None:
    assert open_box(*attack.program, "child").done
    init = Path(cloche_native.init_path())
    before = hashlib.sha256(init.read_bytes()).digest()
    box = create()
    for prey in ("parent", "agent"):
        found = strike(box, *attack.program, prey)
        assert not found.done, (prey, found)
    assert hashlib.sha256(init.read_bytes()).digest() == before
    assert box.exec("true").ok
    stopped(found.words())


# -- mounts and handles ----------------------------------------------------------------------------------------------


def mounting(act: str, tries: str, *, marked: bool = False) -> Attack:
    control = "marked" if marked else "open"
    return Attack(id=act, tries=tries, breaks="filesystem", program=("files", act), control=control)  # type: ignore[arg-type]


MOUNTS = [
    mounting("mount-bind", "bind a folder elsewhere"),
    mounting("mount-tmpfs", "mount memory"),
    mounting("umount", "take a mount away to see below"),
    mounting("remount", "make /usr writable by remounting", marked=True),
    mounting("mount-move", "move a mount"),
    mounting("mount-shared", "make mounts propagate to the host"),
    mounting("mount-overlay", "mount an overlay over the system"),
    mounting("pivot-root", "change the root folder of the namespace"),
    mounting("mount-proc", "mount a fresh /proc", marked=True),
    mounting("mount-sysfs", "mount sysfs", marked=True),
    mounting("mount-cgroup", "mount a control-group hierarchy to set its release_agent", marked=True),
    mounting("fsmount", "mount by the newer calls"),
    mounting("open-tree", "clone a tree of mounts"),
    mounting("mount-setattr", "clear the read-only flag of a mount", marked=True),
    mounting("chroot-climb", "leave a root folder of its own by a descriptor"),
    mounting("name-to-handle", "a handle for a file, to be opened elsewhere"),
    mounting("open-by-handle", "open the file system's root by a handle made up", marked=True),
]


@attacks(MOUNTS, levels=LEVELS)
def test_the_view_of_files_can_not_be_rearranged_to(
    attack: Attack, shared: Sandbox, strike: Strike, open_box: Callable[..., Sight], stopped: Stopped
) -> None:
    if attack.control == "marked":
        assert open_box("files", "--marked", *attack.program[1:]).error == "ENOANO"
    else:
        assert open_box(*attack.program).done
    before = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    seen = shared.exec("ls", "/").text
    found = strike(shared, *attack.program)
    assert not found.done, found
    assert Path("/proc/self/mountinfo").read_text(encoding="utf-8") == before
    assert shared.exec("ls", "/").text == seen
    stopped(found.words())


# -- special files ---------------------------------------------------------------------------------------------------

DEVICES = [
    Attack(
        id=f"mknod-{kind}",
        tries=f"make a {kind} device and open it",
        breaks="filesystem",
        program=("files", "device", kind),
    )
    for kind in ("character", "block")
]


@attacks(DEVICES, levels=LEVELS)
def test_no_device_is_made_and_opened(attack: Attack, shared: Sandbox, strike: Strike, stopped: Stopped) -> None:
    assert strike(shared, "files", "device", "fifo").done
    found = strike(shared, *attack.program)
    assert not found.done, found
    stopped(found.words())


@attack("file-capabilities", "give a program of its own capabilities", "capabilities", levels=LEVELS)
def test_no_program_gets_capabilities(
    shared: Sandbox, strike: Strike, open_box: Callable[..., Sight], stopped: Stopped
) -> None:
    assert open_box("files", "file-capabilities").done
    found = strike(shared, "files", "file-capabilities")
    assert not found.done, found
    stopped(found.words())


@attack("set-id-executed", "gain a user by a set-user-id program", "capabilities", levels=LEVELS)
def test_a_set_user_id_program_gains_nothing(shared: Sandbox, stopped: Stopped) -> None:
    own = shared.exec("id", "-u").text
    assert shared.exec("sh", "-c", "cp /usr/bin/id marked; chmod 755 marked; ./marked -u").text == own
    shared.exec("sh", "-c", "chmod 4755 marked")
    assert shared.exec("./marked", "-u").text == own
    for program in ("/bin/su", "/usr/bin/sudo", "/bin/mount"):
        if os.path.exists(program):
            done = shared.exec("sh", "-c", f"{program} --version >/dev/null; grep -h ^Uid: /proc/self/status; id -u")
            assert done.text.split()[-1:] == own.split()
    stopped("no_new_privs; nosuid")


@pytest.fixture
def given(nothing_is_left: None) -> Iterator[Path]:  # noqa: ARG001 - it outlives this
    """Give a folder of the host that a box may write to."""
    folder = Path(tempfile.mkdtemp(prefix="given-"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


SET_ID = [
    Attack(
        id=f"set-{kind}-id-planted", tries=f"leave a set-{kind}-id program of the owner in a host folder",
        breaks="filesystem", program=("files", "set-id", kind),
    )
    for kind in ("user", "group")
]  # fmt: skip


@attacks(SET_ID, levels=("standard", "enhanced"))
def test_no_program_with_a_set_id_bit_is_left_in_a_folder_of_the_host(
    attack: Attack, create: Create, given: Path, strike: Strike, stopped: Stopped
) -> None:
    box = create(mounts=[Mount(str(given), str(given), read_only=False)])
    assert strike(box, "files", "set-id", "plain", cwd=str(given)).done
    assert len(list(given.iterdir())) > 2
    box.exec("sh", "-c", "rm -f by-*", cwd=str(given)).check()
    found = strike(box, *attack.program, cwd=str(given))
    assert not found.done, found
    marked = [path.name for path in given.iterdir() if path.stat().st_mode & (stat.S_ISUID | stat.S_ISGID)]
    assert marked == []
    stopped(found.words())


@attack("immutable-file", "leave a file that its host can't remove", "filesystem", levels=LEVELS)
def test_a_file_can_not_be_made_to_stay(create: Create, strike: Strike, stopped: Stopped) -> None:
    box = create()
    found = strike(box, "files", "immutable")
    assert not found.done, found
    assert strike(box, "files", "immutable", "plain").done or found.error in ("ENOTTY", "EOPNOTSUPP", "EPERM")
    box.delete()
    stopped(found.words())


@attack("hard-link", "keep a host file by a hard link into its own folder", "filesystem", levels=LEVELS)
def test_a_file_that_is_shown_gets_no_second_name(
    exposed: Sandbox, outside: Outside, strike: Strike, stopped: Stopped
) -> None:
    exposed.exec("sh", "-c", "echo mine > mine").check()
    assert strike(exposed, "files", "hard-link", "mine").done
    found = strike(exposed, "files", "hard-link", outside.visible)
    assert not found.done, found
    stopped(found.words())


# -- descriptors and folders handed over -----------------------------------------------------------------------------


@attack("leaked-descriptors", "use folders that the host has open (CVE-2024-21626)", "filesystem", levels=LEVELS)
def test_no_folder_that_the_host_has_open_is_reached(
    create: Create, outside: Outside, strike: Strike, programs: Path, stopped: Stopped
) -> None:
    open_folders = [os.open(path, os.O_PATH | os.O_DIRECTORY) for path in ("/", outside.hidden)]
    for fd in open_folders:
        os.set_inheritable(fd, True)
    try:
        box = create()
        own = box.exec("sh", "-c", f"echo of the host > secret; {programs}/files leaked-descriptors secret .")
        assert Sight.of(own).done
        found = strike(box, "files", "leaked-descriptors", outside.secret)
        assert not found.done, found
        for number in range(3, 40):
            done = box.exec("cat", f"../../..{outside.secret}", cwd=f"/proc/self/fd/{number}")
            assert SECRET.encode() not in done.stdout
    finally:
        for fd in open_folders:
            os.close(fd)
    stopped("EBADF: none is open")


@attack("working-folder-inherited", "stay in the folder that the host is in", "filesystem", levels=LEVELS)
def test_the_folder_that_the_host_is_in_is_not_the_guests(
    create: Create, outside: Outside, monkeypatch: pytest.MonkeyPatch, stopped: Stopped
) -> None:
    monkeypatch.chdir(outside.hidden)
    box = create()
    assert SECRET not in box.exec("cat", "secret").text
    assert (
        SECRET not in box.exec("sh", "-c", "cat $OLDPWD/secret ../secret ../hidden/secret /proc/self/cwd/secret").text
    )
    assert box.exec("sh", "-c", f"echo '{SECRET.strip()}' > secret; cat secret").text == SECRET
    stopped("its own work folder")


@attack(
    "folder-handed-over",
    "take a folder from a second box by a common socket, and climb from it",
    "filesystem",
)
def test_a_folder_handed_over_by_another_box_leads_no_further_than_that_box(
    create: Create, given: Path, outside: Outside, strike: Strike, programs: Path, stopped: Stopped
) -> None:
    common = Mount(str(given), str(given), read_only=False)
    taker, giver = create(mounts=[common]), create(mounts=[common])
    work = giver.exec("pwd").text.strip()
    giver.exec("sh", "-c", "echo given > own").check()
    meeting = str(given / "s")
    job = taker.spawn(str(programs / "files"), "take-folder", meeting, outside.secret, f"{work}/own", timeout=8)
    gave = strike(giver, "files", "give-folder", meeting, timeout=8)
    done = job.wait(20)
    if gave.done:
        found = Sight.of(_printed(job, done))
        assert "the giver's own file" in found.saw, "the control: the folder arrived"
        assert not found.done, found
        stopped("it leads to the other box's own files alone")
    else:
        assert SECRET not in _printed(job, done).text
        stopped(f"no socket to hand it over: {gave.error}")
    assert outside.unchanged()


def _printed(job: Job, result: Result) -> Result:
    """Give a job's result with what it printed."""
    return replace(result, stdout=b"".join(chunk.data for chunk in job.held()))
