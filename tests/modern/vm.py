"""Runs ``selection`` on a modern Linux, emulated in software: cgroup v2, Landlock, user namespaces.

The machine's root is this host's, read-only, under a tmpfs that takes the writes; so it runs this checkout with its
virtual environment, and there is no image to build. The kernel is Debian's newest for clouds. There is no network.
Exit code 0: all passed; 77: this host can't do it, and says why; else something failed. Start it by ``.ci/run modern``,
or by hand as root: ``tests/modern/vm.py [--selection FILE] [--seconds N]``.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import lzma
import os
import re
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
BUILD = CHECKOUT / "build" / "modern"
PACKAGES = ("qemu-system-x86", "busybox-static", "cpio")
KERNELS = r"^linux-image-[0-9]+\.[0-9]+\.[0-9]+[^ ]*-cloud-amd64$"  # not 6.12-cloud: that only names another package
VIRTIOFSD = "/usr/lib/qemu/virtiofsd"
# In the order they need each other; what is not in the package is built into the kernel.
MODULES = (
    "virtio", "virtio_ring", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "fuse", "virtiofs",
    "overlay",
)  # fmt: skip
MEMORY_MIB = 2048
SECONDS = 600  # for all of it, booting included; under three minutes when nothing else runs
SKIPPED = 77
ENDS_WITH_US = ("setpriv", "--pdeathsig", "KILL", "nice", "-n", "10")  # also when we are killed; and others come first


class Impossible(Exception):
    """This host can't run the machine; the text says why."""


def main() -> int:
    """Prepare, run, tell."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what runs is ended
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--selection", type=Path, default=HERE / "selection", help="a file as `selection` is")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for all of it (default %(default)g)")
    asked = parser.parse_args()
    BUILD.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    try:
        with open(BUILD / "lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # one machine at a time
            check()
            install()
            compile_all()
            kernel, modules = unpacked_kernel()
            word = secrets.token_hex(8)
            initial = initial_files(modules, settings(asked.selection, word))
            ready = time.monotonic()
            failed = run(kernel, initial, word, asked.seconds)
    except Impossible as reason:
        print(f"modern: SKIPPED, nothing of it was tested: {reason}")
        return SKIPPED
    print(f"modern: {time.monotonic() - ready:.0f} s in the machine, {ready - began:.0f} s to prepare it")
    if failed is None:
        print(f"modern: FAILED: the machine did not come to the end of its tests within {asked.seconds:g} s")
    elif failed:
        print(f"modern: FAILED: {failed} of the commands above")
    return 1 if failed is None or failed else 0


def check() -> None:
    """Raise Impossible for what no package can mend."""
    if os.uname().machine != "x86_64":
        raise Impossible(f"it emulates x86-64, and this is {os.uname().machine}")
    if os.geteuid() != 0:
        raise Impossible("sharing the host's root with the machine needs root")
    available = re.search(r"MemAvailable: *(\d+) kB", Path("/proc/meminfo").read_text())
    if available is not None and int(available[1]) // 1024 < MEMORY_MIB + 512:
        raise Impossible(f"it needs {MEMORY_MIB + 512} MiB of memory, and {int(available[1]) // 1024} are available")


def install() -> None:
    """Install what is missing."""
    there = shutil.which("qemu-system-x86_64") and shutil.which("busybox") and shutil.which("cpio")
    if there and os.access(VIRTIOFSD, os.X_OK):
        return
    if shutil.which("apt-get") is None:
        raise Impossible(f"there is no apt-get to install {', '.join(PACKAGES)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *PACKAGES]):
        attempt(["apt-get", *command], seconds=300, env=environment)
    if not os.access(VIRTIOFSD, os.X_OK):
        raise Impossible(f"there is no {VIRTIOFSD}; Debian 12 has it in qemu-system-common")


def compile_all() -> None:
    """Compile here what the machine would take half a minute for, each time."""
    (BUILD / "programs").mkdir(exist_ok=True)
    attempt([sys.executable, "-m", "compileall", "-q", "core", "native", "plugins"], seconds=120, cwd=CHECKOUT)
    attempt([str(CHECKOUT / "tests/native/programs/build"), str(BUILD / "programs")], seconds=120)


def attempt(command: list[str], *, seconds: float, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Give what a command prints; Impossible with its own words when it fails."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=seconds, cwd=cwd,
            env=env,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Impossible(f"{' '.join(command)}: {error}") from None
    if done.returncode:
        raise Impossible(f"{' '.join(command)} failed: {(done.stderr or done.stdout).strip()[-500:]}")
    return done.stdout


def unpacked_kernel() -> tuple[Path, Path]:
    """Give the kernel and the folder of its modules: of the newest package that apt knows, fetched once."""
    for folder in BUILD.glob("linux-image-*"):
        return parts_of(folder)
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise Impossible("there is no apt-get or no dpkg to fetch a kernel with")
    attempt(["apt-get", "update", "-qq"], seconds=300)
    listed = attempt(["apt-cache", "search", "--names-only", KERNELS], seconds=60)
    versioned = sorted(re.findall(r"^(\S+) - ", listed, re.MULTILINE), key=numbers)
    if not versioned:
        raise Impossible("apt knows no package linux-image-<version>-cloud-amd64")
    part = BUILD / "part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    part.chmod(0o777)  # apt downloads as a user of its own
    attempt(["apt-get", "download", "-qq", versioned[-1]], seconds=300, cwd=part)
    (package,) = part.glob("*.deb")
    attempt(["dpkg", "-x", str(package), str(part / "unpacked")], seconds=120)
    (part / "unpacked").rename(BUILD / versioned[-1])
    shutil.rmtree(part)
    return parts_of(BUILD / versioned[-1])


def parts_of(package: Path) -> tuple[Path, Path]:
    """Give the kernel and the folder of the modules of an unpacked package."""
    (kernel,) = (package / "boot").glob("vmlinuz-*")
    modules = [package / base / "modules" for base in ("lib", "usr/lib")]
    return kernel, next(path for path in modules if path.exists())


def numbers(name: str) -> list[int]:
    """Give the numbers in a name, to order versions by."""
    return [int(number) for number in re.findall(r"\d+", name)]


def settings(selection: Path, word: str) -> str:
    """Give what the machine is to know, as assignments of the shell."""
    named = {"checkout": str(CHECKOUT), "selection": str(selection.resolve()), "word": word}
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in named.items())


def initial_files(modules: Path, known: str) -> Path:
    """Give the initial file system: busybox, the modules, ``init`` and what the machine is to know."""
    top = BUILD / "initial"
    shutil.rmtree(top, ignore_errors=True)
    for name in ("bin", "proc", "sys", "dev", "lower", "upper", "root", "modules"):
        (top / name).mkdir(parents=True)
    shutil.copy(shutil.which("busybox") or "", top / "bin" / "busybox")
    shutil.copy(HERE / "init", top / "init")
    (top / "init").chmod(0o755)
    (top / "settings").write_text(known)
    for order, name in enumerate(MODULES):
        for file in modules.glob(f"*/kernel/**/{name}.ko*"):
            data = lzma.decompress(file.read_bytes()) if file.suffix == ".xz" else file.read_bytes()
            (top / "modules" / f"{order}-{name}.ko").write_bytes(data)
    archive = BUILD / "initial.cpio"
    with open(archive, "wb") as out:
        listed = "\n".join(str(path.relative_to(top)) for path in sorted(top.rglob("*")))
        command = ["cpio", "-o", "-H", "newc", "--quiet"]
        subprocess.run(command, cwd=top, input=listed.encode(), stdout=out, check=True, timeout=60)
    return archive


@contextlib.contextmanager
def shared_root(socket: Path) -> Iterator[None]:
    """Serve this host's root, read-only, on a socket; in a mount namespace of its own, so nothing stays of it."""
    mounted = {mount_point(path) for path in (Path("/"), CHECKOUT, Path(sys.base_prefix), Path("/usr"))}
    top = BUILD / "root"
    top.mkdir(exist_ok=True)
    lines = [
        f"mount --bind '{point}' '{top}{point}'; mount -o remount,bind,ro '{top}{point}'"
        for point in sorted(str(point) for point in mounted)
    ]
    serve = f"exec {VIRTIOFSD} --socket-path='{socket}' -o source='{top}' -o cache=always -o sandbox=chroot"
    with open(BUILD / "virtiofsd.log", "wb") as log:
        process = subprocess.Popen(
            [*ENDS_WITH_US, "unshare", "--mount", "sh", "-ec", "\n".join([*lines, serve])],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        until = time.monotonic() + 10
        while not socket.exists():
            if process.poll() is not None or time.monotonic() > until:
                said = (BUILD / "virtiofsd.log").read_text(errors="replace").strip()
                raise Impossible(f"virtiofsd does not serve: {said[-500:]}")
            time.sleep(0.05)
        yield
    finally:
        end(process)
        socket.unlink(missing_ok=True)


def mount_point(path: Path) -> Path:
    """Give where the file system that holds ``path`` is mounted."""
    path = path.resolve()
    return next(folder for folder in (path, *path.parents) if folder.is_mount())


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process and what it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)


def run(kernel: Path, initial: Path, word: str, seconds: float) -> int | None:
    """Boot, show what the machine prints; give how many commands failed, None if it did not get that far."""
    socket = BUILD / "socket"
    socket.unlink(missing_ok=True)
    with shared_root(socket):
        process = subprocess.Popen(
            [
                *ENDS_WITH_US, "qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi",
                "-cpu", "max", "-smp", "2", "-m", str(MEMORY_MIB),
                "-object", f"memory-backend-memfd,id=memory,size={MEMORY_MIB}M,share=on", "-numa", "node,memdev=memory",
                "-chardev", f"socket,id=root,path={socket}",
                "-device", "vhost-user-fs-pci,chardev=root,tag=root,queue-size=1024",
                "-kernel", str(kernel), "-initrd", str(initial), "-append", "console=ttyS0 quiet panic=-1",
                "-nodefaults", "-nographic", "-serial", "stdio", "-no-reboot", "-nic", "none",
            ],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        clock = threading.Timer(seconds, process.kill)
        clock.start()
        failed = None
        try:
            assert process.stdout is not None
            for raw in process.stdout:
                line = raw.decode(errors="replace").rstrip()
                if line.startswith(f"{word} "):
                    failed = int(line.split()[1])
                else:
                    print(f"modern | {line}", flush=True)
        finally:
            clock.cancel()
            end(process)
    return failed


if __name__ == "__main__":
    sys.exit(main())
