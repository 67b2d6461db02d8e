"""Machines on which something is broken: read-only, missing, full, taken away. Each for a process of its own.

The machine's part is done in a mount namespace of that process, so that nobody else notices.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can break a machine for itself"),
    pytest.mark.skipif(shutil.which("unshare") is None, reason="util-linux is not here"),
    pytest.mark.usefixtures("no_leaks"),
]

HOG = "x = bytearray(600 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1\nprint('full')"
ASK = f"""
import json
import cloche
out = {{}}
with cloche.Host() as host:
    for name in ("namespaces", "process"):
        with host.create(runtime=name, isolation="standard", limits={{"memory": "96M"}}) as box:
            done = box.exec("python3", "-c", {HOG!r})
            out[name] = [str(box.enforcement["memory"]), done.reason, box.exec("echo", "hi").text, sorted(box.stats())]
print(json.dumps(out))
"""


def ask(machine: str, code: str = ASK, *, before: tuple[str, ...] = ()) -> Any:  # noqa: ANN401 - as JSON gives it
    """Break the machine by a shell script, run ``code`` on it, and give what it prints."""
    script = f'set -e; mount --make-rprivate /; {machine}\nexec "$@"'
    command = ["unshare", "-m", "sh", "-c", script, "sh", *before, sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


GROUPS = "awk '$3 ~ /^cgroup/ { print $2 }' /proc/mounts"


@pytest.mark.parametrize(
    "machine",
    [
        f"for m in $({GROUPS}); do mount -o remount,bind,ro $m; done",
        f"for m in $({GROUPS}); do umount -l $m; done",
        "umount -l -R /sys/fs/cgroup; mount -t tmpfs none /sys/fs/cgroup",
    ],
    ids=["read-only", "missing", "an empty folder instead"],
)
def test_without_usable_control_groups_memory_is_watched_and_that_is_told(machine: str) -> None:
    for told, reason, text, figures in ask(machine).values():
        assert "the agent looks at all processes" in told
        assert (reason, text) == ("out_of_memory", "hi\n")
        assert {"cpu", "memory", "pids"} <= set(figures)


TAKEN = """
import contextlib, json, os, subprocess
import cloche
with cloche.Host() as host:
    box = host.create(isolation="standard")
    assert "cgroup" in str(box.enforcement["memory"]), "no control groups here to begin with"
    groups = box._inner._instance._group.folders
    above = [os.open(os.path.dirname(os.path.dirname(group)), os.O_RDONLY) for group in groups]
    mounts = [line.split()[1] for line in open("/proc/mounts") if line.split()[2].startswith("cgroup")]
    for mount in mounts:
        subprocess.run(["umount", "-l", mount], check=True)
    out = {"exec": box.exec("echo", "hi").text}
    for name, act in (("stats", box.stats), ("update", lambda: box.update(limits={"memory": "99M"})),
                      ("create", lambda: host.create(isolation="standard"))):
        try:
            act()
            out[name] = "done"
        except cloche.ClocheError as error:
            out[name] = f"{type(error).__name__}: {error}"
    box.delete()
    out["left"] = len(host.sandboxes())
    for folder, group in zip(above, groups):  # which nobody here can reach by name any more
        os.rmdir("cloche/" + os.path.basename(group), dir_fd=folder)
        with contextlib.suppress(OSError):  # another host's groups may be in it
            os.rmdir("cloche", dir_fd=folder)
print(json.dumps(out))
"""


def test_control_groups_that_are_taken_away_are_errors_that_name_them_and_boxes_go_on() -> None:
    probe = "import json, cloche\nwith cloche.Host() as h, h.create(isolation='standard') as b: "
    if "cgroup" not in ask("true", probe + "print(json.dumps(str(b.enforcement['memory'])))"):
        pytest.skip("no control groups may be made here")
    found = ask("true", TAKEN)
    assert (found["exec"], found["left"]) == ("hi\n", 0)
    assert found["stats"].startswith("SandboxError: what the box uses can't be read")
    assert found["update"].startswith("SandboxError: the limits of the box's control group can't be changed")
    assert found["create"].startswith("StartError")


LIMITED = """
import json
import cloche
with cloche.Host() as host, host.create(isolation="standard", limits={"open_files": 4096}) as box:
    print(json.dumps(box.exec("sh", "-c", "ulimit -n; ulimit -Hn").text.split()))
"""


def test_a_bound_above_what_this_process_may_give_is_what_it_may_give() -> None:
    without = ("prlimit", "--nofile=512:512", "setpriv", "--bounding-set=-sys_resource", "--inh-caps=-sys_resource")
    assert ask("true", LIMITED, before=without) == ["512", "512"]


FULL = """
import json, os
import cloche
out = {}
for name in ("namespaces", "process", "gvisor"):
    with cloche.Host() as host:
        try:
            with host.create(runtime=name, isolation="standard") as box:
                out[name] = box.exec("echo", "hi").text
        except cloche.ClocheError as error:
            out[name] = f"{type(error).__name__}: {error}"
        out[name + " left"] = len(host.sandboxes())
out["files"] = sorted(os.listdir("/var/lib/cloche"))
print(json.dumps(out))
"""


def test_a_full_disk_for_state_is_told_or_done_without() -> None:
    fill = "mount -t tmpfs -o size=64k,nr_inodes=64 none /var/lib/cloche; cat /dev/zero > /var/lib/cloche/full"
    found = ask(f"mkdir -p /var/lib/cloche; {{ {fill}; }} 2>/dev/null || true", FULL)
    for name in ("namespaces", "process", "gvisor"):
        assert found[name] == "hi\n" or "No space left" in found[name] or "RuntimeUnavailable" in found[name], found
        assert found[f"{name} left"] == 0
    assert not [name for name in found["files"] if name.startswith(("tmp", "etc-"))], found  # nothing half made


def test_a_full_folder_for_temporary_files_is_told_or_done_without(tmp_path: Path) -> None:
    found = ask(f"mount -t tmpfs -o size=4k,nr_inodes=1 none {tmp_path}; export TMPDIR={tmp_path}", FULL)
    assert found["namespaces"] == "hi\n"
    told = ("No usable temporary directory", "No space left")
    for name in ("process", "gvisor"):
        unavailable = "RuntimeUnavailable" in found[name]
        assert found[name] == "hi\n" or unavailable or any(text in found[name] for text in told), found
        assert found[f"{name} left"] == 0
