"""Saved and restored gVisor sandboxes, judged by what they know and answer; templates, refusals, leaks."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloche import Host, Mount, Sandbox, SnapshotError, SpecError, StartError, State, Workspace
from cloche.testing import SnapshotConformance
from cloche_gvisor.runtime import GvisorRuntime

pytestmark = pytest.mark.usefixtures("no_own_leaks")
SCRIPT = "import random\nrandom.seed(5)\nvalue = sum(n * n for n in range(1000))\n"
ANSWER = "import prepared; print(prepared.value)"
LIMITS = {"pids": 32, "memory": "512M"}


class TestSaved(SnapshotConformance):
    runtime = GvisorRuntime


@pytest.fixture
def box(host: Host) -> Sandbox:
    return host.create(runtime="gvisor", limits=LIMITS)


def python(box: Sandbox, code: str, *, worker: bool = True) -> str:
    return box.exec("python3", "-c", code, worker=worker).check().text


def test_what_was_computed_before_is_known_after_in_every_restored_sandbox(host: Host, box: Sandbox) -> None:
    box.start_worker(script=SCRIPT)
    assert python(box, ANSWER) == "332833500\n"
    box.exec("sh", "-c", "echo kept > /tmp/kept").check()
    saved = box.checkpoint()
    drawn = set()
    with host.restore(saved) as one, host.restore(saved) as two:
        for again in (one, two):
            assert python(again, ANSWER) == "332833500\n"
            assert again.exec("cat", "/tmp/kept").text == "kept\n"
            drawn.add(python(again, "import random; print(random.random())"))
            assert again.exec("sh", "-c", "exit 3").exit_code == 3
        python(one, "open('/tmp/kept', 'w').write('changed')")
        assert two.exec("cat", "/tmp/kept").text == "kept\n"
    assert len(drawn) == 2


def test_a_restored_sandbox_has_a_work_folder_of_its_own_and_the_folders_it_is_given(
    host: Host, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "name").write_text(name)
    tmp_path.chmod(0o711)
    box = host.create(
        runtime="gvisor", limits=LIMITS, workspace=tmp_path / "a", mounts=[Mount(str(tmp_path / "a"), "/data")]
    )
    assert box.exec("cat", "name").text == "a"
    saved = box.checkpoint()
    with host.restore(saved, workspace=tmp_path / "b", mounts=[Mount(str(tmp_path / "b"), "/data")]) as again:
        assert again.exec("cat", "name", "/data/name").text == "bb"
        again.exec("sh", "-c", "echo written > new").check()
    assert (tmp_path / "b" / "new").read_text() == "written\n"
    assert not (tmp_path / "a" / "new").exists()
    with pytest.raises(SnapshotError, match="it was saved with"):
        host.restore(saved, workspace=Workspace())


def test_a_restored_sandbox_is_bounded_and_ended_as_any_other(host: Host, box: Sandbox) -> None:
    box.start_worker()
    saved = box.checkpoint()
    with host.restore(saved, limits={"open_files": 77, "wall": 5}) as again:
        assert python(again, "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])") == "77\n"
        assert again.exec("sh", "-c", "ulimit -n").text == "77\n"
        slow = again.exec("python3", "-c", "import os, time; os.fork(); time.sleep(100)", worker=True, timeout=1)
        assert slow.reason == "timeout"
        job = again.spawn("python3", "-u", "-c", "import time; print('up'); time.sleep(100)", worker=True)
        assert next(job.lines()) == "up"
        job.kill()
        assert job.wait().reason == "killed"
        again.pause()
        again.resume()
        assert python(again, "print(6 * 7)") == "42\n"
        second = again.checkpoint()
    with host.restore(second) as third:
        assert python(third, "print(6 * 7)") == "42\n"


def test_input_output_and_failures_of_a_workers_program_are_those_of_any(box: Sandbox) -> None:
    box.start_worker(imports=["json"])
    done = box.exec("python3", "-c", "import sys; print(sys.stdin.read()); 1/0", stdin=b"in", worker=True)
    assert (done.exit_code, done.reason, done.stdout) == (1, "exited", b"in\n")
    assert b"ZeroDivisionError" in done.stderr
    box.files.write("/workspace/main.py", b"import sys; print(sys.argv)")
    assert box.exec("python3", "main.py", "a", worker=True).text == "['main.py', 'a']\n"
    with pytest.raises(SpecError, match="no terminal"):
        box.exec("python3", "-c", "pass", worker=True, tty=True)
    box.delete()


def test_a_worker_that_can_not_prepare_itself_says_why(box: Sandbox) -> None:
    with pytest.raises(StartError, match="nothing_of_that_name"):
        box.start_worker(imports=["nothing_of_that_name"])
    with pytest.raises(SpecError, match="no name of a module"):
        box.start_worker(imports=["os; import sys"])
    box.delete()


def test_a_sandbox_with_a_daemon_is_not_saved_and_goes_on_nor_is_a_restored_one(host: Host, box: Sandbox) -> None:
    for _ in range(2):
        box.exec("sh", "-c", "sleep 1000 &", linger=True).check()
        with pytest.raises(SnapshotError, match=r"left behind is alive in it, among these processes: [0-9]"):
            box.checkpoint()
        assert box.state is State.RUNNING
        assert box.stats()["pids"] >= 2
        box.exec("sh", "-c", "kill $(pidof sleep) || pkill sleep").check()
        box = host.restore(box.checkpoint())
    box.delete()


def test_a_file_of_a_mount_that_the_saved_worker_holds_and_is_gone_is_a_start_error(host: Host, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "held").write_text("held")
    tmp_path.chmod(0o711)
    mounts = [Mount(str(tmp_path / "data"), "/data")]
    box = host.create(runtime="gvisor", limits=LIMITS, mounts=mounts)
    box.start_worker(script="held = open('/data/held')")
    saved = box.checkpoint()
    with host.restore(saved) as again:
        assert python(again, "import prepared; print(prepared.held.read())") == "held\n"
    (tmp_path / "data" / "held").unlink()
    with pytest.raises(StartError, match="no such file"):
        host.restore(saved)


def test_a_template_is_made_once_and_again_when_what_it_rests_on_changes(host: Host, tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    tmp_path.chmod(0o711)
    (tmp_path / "lib" / "own.py").write_text("value = 1")
    mounts = [Mount(str(tmp_path / "lib"), "/own")]
    script = "import sys; sys.path.insert(0, '/own')\nimport own\nvalue = own.value"

    prepare = ["sh", "-c", "echo ready > /tmp/ready"]

    def made() -> str:
        found = host.template("own", script=script, prepare=prepare, runtime="gvisor", limits=LIMITS, mounts=mounts)
        with host.restore(found) as box:
            assert box.exec("cat", "/tmp/ready").text == "ready\n"
            assert python(box, ANSWER) == (tmp_path / "lib" / "own.py").read_text()[-1] + "\n"
        return found.id

    first = made()
    assert made() == first
    (tmp_path / "lib" / "own.py").write_text("value = 2")
    second = made()
    assert second != first
    assert [one.id for one in host.snapshots.all()] == [second]
    image = Path(host.snapshots.path, second, "image", "checkpoint.img")
    image.chmod(0o600)
    image.write_bytes(image.read_bytes()[:-1])
    assert made() != second


def test_a_template_that_can_not_be_prepared_is_none(host: Host) -> None:
    with pytest.raises(StartError, match="can't be prepared"):
        host.template("bad", prepare=["sh", "-c", "echo why >&2; exit 3"], runtime="gvisor", limits=LIMITS)
    with pytest.raises(StartError, match="nothing_of_that_name"):
        host.template("bad", imports=["nothing_of_that_name"], runtime="gvisor", limits=LIMITS)
    with pytest.raises(SpecError, match="what is to be prepared"):
        host.template("bad", runtime="gvisor")
    assert host.snapshots.all() == []
    assert host.sandboxes() == []
