from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import anyio
import pytest

from cloche import (
    OPEN,
    AsyncHost,
    Chunk,
    Host,
    Sandbox,
    SpecError,
    State,
    StateError,
    Window,
)
from cloche.testing import FakeRuntime, Guest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("no_own_leaks")


# -- states ----------------------------------------------------------------------------------------------------------


def test_verbs_must_fit_the_state_and_the_error_says_both(host: Host) -> None:
    box = host.create(start=False)
    assert box.state is State.CREATED
    for verb in (lambda: box.exec("true"), lambda: box.spawn("true"), box.pause, box.resume, box.stats):
        with pytest.raises(StateError, match=rf"sandbox {box.id}: it is created, and must be"):
            verb()
    box.start()
    with pytest.raises(StateError, match=r"can't start sandbox .*: it is running, and must be created"):
        box.start()
    with pytest.raises(StateError, match="can't resume"):
        box.resume()
    box.pause()
    with pytest.raises(StateError, match="it is paused, and must be running"):
        box.exec("true")
    assert box.stats()["pids"] == 0
    box.resume()
    box.kill()
    assert (box.state, box.reason, box.wait()) == (State.STOPPED, "killed", "killed")
    for verb in (box.start, box.pause, box.resume, lambda: box.exec("true"), box.stats):
        with pytest.raises(StateError, match=r"it is stopped \(killed\)"):
            verb()
    assert not box.deleted
    box.delete()
    box.delete()
    assert (box.state, box.deleted, host.sandboxes()) == (State.STOPPED, True, [])
    box.kill()


def test_what_is_told_about_a_sandbox(host: Host) -> None:
    with host.create(name="one") as box:
        assert repr(box) == f"<sandbox {box.id} fake running>"
        info = box.info()
        assert [info[k] for k in ("name", "runtime", "state", "isolation")] == ["one", "fake", "running", "enhanced"]
        assert "isolation_kept" in info
    with pytest.raises(StateError, match=r"it is stopped \(deleted\)"):
        box.exec("true")


def test_a_box_that_was_never_started_can_be_killed_and_waited_for(host: Host) -> None:
    box = host.create(start=False)
    box.kill()
    assert box.wait() == "killed"
    box.delete()


def test_many_may_start_pause_or_delete_at_once_and_one_does(fakes: Callable[..., object]) -> None:
    runtime = FakeRuntime()
    seen: list[str] = []

    async def main() -> None:
        async with AsyncHost(plugins=[fakes(runtime)], entry_points=False) as host:
            host.on(callback=lambda e: seen.append(str(e.type)))
            box = await host.create(start=False)
            for verb in (box.start, box.pause, box.resume, box.kill, box.delete):
                refused: list[StateError] = []

                async def attempt(verb: Callable[[], object], refused: list[StateError]) -> None:
                    try:
                        await verb()  # type: ignore[misc]
                    except StateError as error:
                        refused.append(error)

                async with anyio.create_task_group() as tasks:
                    for _ in range(3):
                        tasks.start_soon(attempt, verb, refused)
                assert len(refused) == (0 if verb in (box.kill, box.delete) else 2)

    anyio.run(main)
    assert seen == ["created", "started", "paused", "resumed", "stopped", "deleted"]


def test_a_box_that_goes_down_by_itself_ends_its_programs(host: Host, runtime: FakeRuntime) -> None:
    with host.create() as box:
        job = box.spawn("sleep", "9")
        host._bridge.call(runtime.instances[0].crash, "its agent died")
        assert box.wait() == "its agent died"
        assert job.wait(5).reason == "signalled"
        with pytest.raises(StateError, match="its agent died"):
            box.exec("true")


# -- exec ------------------------------------------------------------------------------------------------------------


def test_a_program_gives_its_output_and_how_it_ended(box: Sandbox) -> None:
    done = box.exec("echo", "hi", "there")
    assert (done.stdout, done.stderr, done.ok, done.reason) == (b"hi there\n", b"", True, "exited")
    assert box.exec("warn", "oh").stderr == b"oh\n"
    assert (box.exec("exit", "7").exit_code, box.exec("false").ok) == (7, False)
    assert (box.exec("nope").exit_code, box.exec("nope").reason) == (127, "refused")
    assert (box.exec("data").exit_code, box.exec("data").reason) == (126, "refused")
    assert box.exec("true", cwd="/nowhere").exit_code == 126
    hog = box.exec("hog")
    assert (hog.reason, hog.signal, hog.exit_code) == ("out_of_memory", 9, 137)


def test_environment_and_folder_are_the_sandboxs_unless_given(host: Host) -> None:
    with host.create(env={"A": "1", "B": "2"}) as box:
        seen = box.exec("env", env={"B": "3"}).text.splitlines()
        assert {"A=1", "B=3", "HOME=/workspace"} <= set(seen)
        assert (box.exec("pwd").text, box.exec("pwd", cwd="/tmp").text) == ("/workspace\n", "/tmp\n")


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 700_000])
def test_standard_input_arrives_whole(box: Sandbox, size: int) -> None:
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    assert box.exec("cat", stdin=data).stdout == data


def test_standard_input_may_be_text_or_a_file(box: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"z" * 200_000)
    assert box.exec("cat", stdin="né").stdout == "né".encode()
    assert len(box.exec("cat", stdin=tmp_path / "in").stdout) == 200_000
    with (tmp_path / "in").open("rb") as file:
        assert len(box.exec("cat", stdin=file).stdout) == 200_000
    assert box.exec("cat").stdout == b""
    assert box.exec("true", stdin=b"x" * 1_000_000).ok


def test_a_file_that_can_not_be_read_ends_the_program_and_raises(box: Sandbox) -> None:
    class Broken:
        def read(self, _: int) -> bytes:
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        box.exec("cat", stdin=Broken())  # type: ignore[arg-type]
    job = box.spawn("cat", stdin=Broken())  # type: ignore[arg-type]
    done = job.wait(5)
    assert (done.reason, "the disk is gone" in done.detail) == ("killed", True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"stdin": 5}, {"stdin": OPEN}, {"env": 5}, {"env": {"A": 1}}, {"env": {"": "x"}}, {"env": {"a=b": "x"}},
        {"cwd": ""}, {"cwd": "relative"}, {"cwd": 5}, {"timeout": 0}, {"timeout": -1}, {"timeout": "soon"},
        {"tty": "yes"}, {"on_output": 5}, {"stdin": "\ud800"},
    ],
    ids=repr,
)  # fmt: skip
def test_bad_arguments_are_refused_before_anything_runs(box: Sandbox, wrong: dict[str, object]) -> None:
    with pytest.raises(SpecError):
        box.exec("true", **wrong)  # type: ignore[arg-type]
    assert box.jobs() == []


@pytest.mark.parametrize("args", [(), ("",), ("a", "\0"), ("a", "\ud800"), ("a", 5), ("a", "x" * 10_000_000)])
def test_arguments_no_program_can_get_are_refused(box: Sandbox, args: tuple[str, ...]) -> None:
    for verb in (box.exec, box.spawn):
        with pytest.raises(SpecError):
            verb(*args)


def test_output_is_seen_live_in_order(box: Sandbox, runtime: FakeRuntime) -> None:
    async def steps(guest: Guest) -> None:
        for n in range(3):
            await guest.write(f"{n}", stream=1 + n % 2)
            await guest.sleep(0.005)

    runtime.programs["steps"] = steps
    seen: list[Chunk] = []
    done = box.exec("steps", on_output=seen.append)
    assert [(c.seq, c.stream, c.data) for c in seen] == [(0, "stdout", b"0"), (1, "stderr", b"1"), (2, "stdout", b"2")]
    assert (done.stdout, done.stderr) == (b"", b"")


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit, KeyboardInterrupt])
def test_a_callback_that_raises_ends_the_program_and_the_error_comes_out(
    box: Sandbox, error: type[BaseException]
) -> None:
    def bad(_: Chunk) -> None:
        raise error

    with pytest.raises(error):
        box.exec("yes", on_output=bad)
    assert box.exec("true").ok


@pytest.mark.parametrize("size", [0, 5, 1 << 20])
def test_the_output_limit_is_exact(host: Host, runtime: FakeRuntime, size: int) -> None:
    async def printing(guest: Guest) -> None:
        await guest.write(b"x" * int(guest.args[1]), stream=int(guest.args[2]))

    runtime.programs["print"] = printing
    with host.create(limits={"output": size}) as box:
        for stream in ("1", "2"):
            assert box.exec("print", str(size), stream).ok
            over = box.exec("print", str(size + 1), stream)
            assert (over.reason, len(over.stdout + over.stderr)) == ("limit:output", size)
        endless = box.exec("yes", timeout=5)
        assert (endless.reason, len(endless.stdout)) == ("limit:output", size)
        assert "more than" in endless.detail


def test_a_terminal_is_input_and_output(box: Sandbox, runtime: FakeRuntime) -> None:
    async def size(guest: Guest) -> None:
        assert guest.window
        await guest.write(f"{guest.window.rows} {guest.window.columns}")

    runtime.programs["size"] = size
    assert box.exec("size", tty=True).text == "24 80"
    assert box.exec("size", tty=Window(5, 9)).text == "5 9"
    assert box.exec("warn", "x", tty=True).stdout.strip() == b"x"


def test_many_programs_run_at_once(box: Sandbox) -> None:
    texts: list[str] = []
    threads = [threading.Thread(target=lambda n=n: texts.append(box.exec("echo", str(n)).text)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(texts) == [f"{n}\n" for n in range(8)]
