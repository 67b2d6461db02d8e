"""Tests of the guarantees a runtime declares: each shows the act where it is allowed, then that the box refuses it."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest

import cloche
from cloche import Guarantee, Operation, PathPermissions


class GuaranteeTests:
    """Part of ``RuntimeConformance``."""

    runtime: ClassVar[type[cloche.Runtime]]

    def _needs(self, guarantee: Guarantee, unkept: dict[str, str]) -> None:
        if guarantee not in self.runtime.guarantees:
            pytest.skip(f"runtime {self.runtime.name} does not declare {guarantee}")
        if guarantee in unkept:
            pytest.skip(f"{guarantee} can't be kept on this machine: {unkept[guarantee]}")

    def test_everything_declared_is_reported_as_kept(self, box: cloche.Sandbox, unkept: dict[str, str]) -> None:
        if unkept:
            pytest.skip(f"this machine lacks something: {unkept}")
        assert box.enforcement.refusals(box.spec.needed()) == {}
        for guarantee in self.runtime.guarantees:
            assert not isinstance(box.enforcement[guarantee], cloche.Unenforced)

    @pytest.mark.usefixtures("sh")
    def test_no_descriptor_of_the_host_is_inherited(self, box: cloche.Sandbox) -> None:
        kept = os.open("/etc/hostname", os.O_RDONLY)
        os.set_inheritable(kept, True)  # noqa: FBT003 - os takes it no other way
        try:
            done = box.exec(
                "/bin/sh", "-c", "for n in 3 4 5 6 7 8 9 10 11 12 13 14 15; do (: <&$n) 2>/dev/null && echo $n; done"
            )
        finally:
            os.close(kept)
        assert done.text == ""
        assert box.exec("/bin/sh", "-c", "(: <&1) && echo open").text == "open\n"

    @pytest.mark.usefixtures("sh")
    def test_process_the_host_can_be_neither_signalled_nor_seen(
        self, box: cloche.Sandbox, unkept: dict[str, str]
    ) -> None:
        self._needs(Guarantee.PROCESS, unkept)
        victim = subprocess.Popen(["/bin/sleep", "4711.25"])
        try:
            done = box.exec("/bin/sh", "-c", f"kill -9 {victim.pid}; cat /proc/[0-9]*/cmdline")
            assert victim.poll() is None
            assert b"4711.25" not in done.stdout
        finally:
            victim.kill()
            victim.wait()
        assert box.exec("/bin/sh", "-c", "sleep 60 & kill -9 $! && wait $!; echo $?").text == "137\n"

    @pytest.mark.usefixtures("sh")
    def test_filesystem_the_host_cannot_be_read_or_written(
        self, box: cloche.Sandbox, tmp_path: Path, unkept: dict[str, str]
    ) -> None:
        self._needs(Guarantee.FILESYSTEM, unkept)
        tmp_path.chmod(0o777)
        secret = tmp_path / "secret"
        secret.write_text("of the host")
        secret.chmod(0o666)
        for parent in tmp_path.parents[:2]:
            if parent.stat().st_uid == os.getuid():
                parent.chmod(0o755)
        tried = box.exec(
            "/bin/sh", "-c", f"cat {secret}; echo changed > {secret}; echo new > {tmp_path}/new; rm {secret}"
        )
        assert b"of the host" not in tried.stdout
        assert (secret.read_text(), sorted(p.name for p in tmp_path.iterdir())) == ("of the host", ["secret"])
        for place in ("/", "/usr/", "/etc/", "/usr/bin/"):
            assert not box.exec("/bin/sh", "-c", f"echo x > {place}cloche-was-here").ok
            assert not Path(f"{place}cloche-was-here").exists()
        assert box.exec("/bin/sh", "-c", "echo mine > mine && cat mine").text == "mine\n"

    @pytest.mark.usefixtures("sh")
    def test_filesystem_a_mount_is_shown_and_read_only_unless_said(
        self, host: cloche.Host, tmp_path: Path, unkept: dict[str, str]
    ) -> None:
        self._needs(Guarantee.FILESYSTEM, unkept)
        shown, open_ = tmp_path / "shown", tmp_path / "open"
        for folder in (shown, open_):
            folder.mkdir()
            (folder / "f").write_text("given")
        mounts = [cloche.Mount(str(shown), str(shown)), cloche.Mount(str(open_), str(open_), read_only=False)]
        try:
            box = host.create(isolation="conformance", mounts=mounts, limits={"disk": None}, strict=False)
        except cloche.SpecError as error:
            pytest.skip(f"this runtime shows no folders of the host: {error}")
        with box:
            assert box.exec("cat", f"{shown}/f", f"{open_}/f").text == "givengiven"
            assert not box.exec("/bin/sh", "-c", f"echo x > {shown}/f").ok
            assert box.exec("/bin/sh", "-c", f"echo written > {open_}/g").ok
        assert ((shown / "f").read_text(), (open_ / "g").read_text()) == ("given", "written\n")
        assert (open_ / "g").stat().st_uid == os.getuid()

    @pytest.mark.parametrize("asked", ["forbidden", "read_only", "allowed", "operations"])
    @pytest.mark.usefixtures("sh")
    def test_filesystem_paths_that_are_reported_as_kept_are(
        self, host: cloche.Host, tmp_path: Path, unkept: dict[str, str], asked: str
    ) -> None:
        self._needs(Guarantee.FILESYSTEM, unkept)
        given = tmp_path / "given"
        given.mkdir()
        for name in ("free", "secret"):
            (given / name).write_text(f"{name} of the caller")
            (given / name).chmod(0o666)
        for folder in (given, tmp_path, *tmp_path.parents[:2]):
            if folder.stat().st_uid == os.getuid():
                folder.chmod(0o777 if folder == given else 0o755)
        box, target = self._with_paths(host, given, asked)
        with box:
            seen = box.exec("/bin/sh", "-c", f"cat {target}/secret; echo changed > {target}/secret")
            control = box.exec("ls" if asked == "operations" else "cat", f"{target}/free")
        assert not seen.ok or asked == "forbidden"
        assert (b"of the caller" in seen.stdout) is (asked == "read_only")
        assert (given / "secret").read_text() == "secret of the caller"
        assert control.ok

    def _with_paths(self, host: cloche.Host, given: Path, asked: str) -> tuple[cloche.Sandbox, str]:
        """Give a box that shows ``given`` with something asked for its paths, or skip where this is not kept."""
        reasons = []
        for target in ("/given", str(given)):
            paths = {
                "forbidden": PathPermissions(forbidden=(f"{target}/secret",)),
                "read_only": PathPermissions(read_only=(f"{target}/secret",)),
                "allowed": PathPermissions(allowed=(f"{target}/free", str(given / "free"))),
            }.get(asked)
            few: frozenset[Operation] | None = frozenset({"list"}) if asked == "operations" else None
            mount = cloche.Mount(str(given), target, read_only=few is not None, operations=few)
            try:
                box = host.create(
                    isolation="conformance", mounts=[mount], paths=paths, limits={"disk": None}, strict=False
                )
            except cloche.ClocheError as error:
                reasons.append(str(error))
                continue
            if not (refused := box.enforcement.refusals(["paths"])):
                return box, target
            box.delete()
            reasons.append(refused["paths"])
        pytest.skip(f"this runtime keeps no such paths: {reasons[0]}")

    @pytest.mark.usefixtures("sh")
    def test_network_nothing_of_the_host_is_reached(self, box: cloche.Sandbox, unkept: dict[str, str]) -> None:
        self._needs(Guarantee.NETWORK, unkept)
        hits: list[bytes] = []
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(5)
            port = server.getsockname()[1]
            thread = threading.Thread(target=_answer, args=(server, hits))
            thread.start()
            with socket.create_connection(("127.0.0.1", port), timeout=5) as control:
                control.sendall(b"host")
            thread.join()
            thread = threading.Thread(target=_answer, args=(server, hits))
            server.settimeout(1)
            thread.start()
            tried = box.exec("bash", "-c", f"echo guest > /dev/tcp/127.0.0.1/{port}")
            thread.join()
        assert hits == [b"host"]
        assert not tried.ok

    @pytest.mark.usefixtures("sh")
    def test_syscalls_and_capabilities_are_confined(self, box: cloche.Sandbox, unkept: dict[str, str]) -> None:
        self._needs(Guarantee.SYSCALLS, unkept)
        status = box.exec("cat", "/proc/self/status").text
        if status:
            assert re.search(r"^Seccomp:\s+2$", status, re.MULTILINE)
            for name, value in {"NoNewPrivs": "1", "CapAmb": "0+"}.items():  # not every kernel tells of these
                assert f"{name}:" not in status or re.search(rf"^{name}:\s+{value}$", status, re.MULTILINE), name
            for name in ("CapInh", "CapPrm", "CapEff", "CapBnd"):
                assert re.search(rf"^{name}:\s+0+$", status, re.MULTILINE), name
        assert not box.exec("unshare", "-U", "true").ok
        assert not box.exec("mount", "-t", "tmpfs", "none", ".").ok
        assert box.exec("true").ok

    @pytest.mark.usefixtures("sh")
    def test_identity_the_guest_is_nobody_on_the_host(self, box: cloche.Sandbox, unkept: dict[str, str]) -> None:
        self._needs(Guarantee.IDENTITY, unkept)
        job = box.spawn("sleep", "4712.5")
        owners = {
            Path(f"/proc/{pid}").stat().st_uid
            for pid in os.listdir("/proc")
            if pid.isdigit() and b"4712.5" in _read(f"/proc/{pid}/cmdline")
        }
        job.kill()
        assert 0 not in owners
        if os.getuid() == 0:
            assert os.getuid() not in owners

    @pytest.mark.usefixtures("sh")
    def test_pids_are_bounded(self, box: cloche.Sandbox, unkept: dict[str, str]) -> None:
        self._needs(Guarantee.PIDS, unkept)
        done = box.exec("/bin/sh", "-c", "for n in $(seq 100); do sleep 60 & done; echo all", timeout=20)
        assert b"all" not in done.stdout or b"fork" in done.stderr
        few = box.exec("/bin/sh", "-c", "for n in $(seq 20); do sleep 60 & done; echo all", timeout=20)
        assert few.text == "all\n"

    @pytest.mark.usefixtures("sh")
    def test_memory_is_bounded(self, box: cloche.Sandbox, unkept: dict[str, str]) -> None:
        self._needs(Guarantee.MEMORY, unkept)
        hog = "head -c {}m /dev/zero | tail | wc -c"  # no line ends, so that tail keeps all of it
        assert box.exec("/bin/sh", "-c", hog.format(20), timeout=30).text.strip() == str(20 << 20)
        assert box.exec("/bin/sh", "-c", hog.format(600), timeout=30).text.strip() != str(600 << 20)

    @pytest.mark.usefixtures("sh")
    def test_disk_is_bounded_in_bytes_and_files(self, box: cloche.Sandbox, unkept: dict[str, str]) -> None:
        self._needs(Guarantee.DISK, unkept)
        assert box.exec("dd", "if=/dev/zero", "of=big", "bs=1M", "count=8").ok
        assert b"No space" in box.exec("dd", "if=/dev/zero", "of=bigger", "bs=1M", "count=32").stderr
        many = box.exec("/bin/sh", "-c", "rm -f big*; for n in $(seq 9000); do : > f$n || exit 9; done", timeout=60)
        assert many.exit_code != 0

    def test_strict_refuses_what_cannot_be_kept(self, create: Callable[..., cloche.Sandbox]) -> None:
        with create() as box:
            missing = sorted(box.enforcement.refusals(frozenset(Guarantee) - self.runtime.guarantees))
        if not missing:
            pytest.skip("this runtime keeps every guarantee there is")
        with pytest.raises(cloche.Unenforceable) as caught:
            create(require=[missing[0]], strict=True)
        assert missing[0] in str(caught.value)
        with create(require=[missing[0]]) as box:
            assert missing[0] in box.enforcement.refusals([missing[0]])


def _answer(server: socket.socket, hits: list[bytes]) -> None:
    try:
        with server.accept()[0] as peer:
            hits.append(peer.recv(16))
    except TimeoutError:
        return


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:  # it ended while we looked
        return b""
