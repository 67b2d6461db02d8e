"""gVisor as its own command line offers it: the peer of the gvisor runtime."""

import ctypes
import json
import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import piped
from benchmarks.peers import TRUE, Answer, Contender, WrongAnswerError

ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8"}
NOBODY = 65534
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
LINKS = ("bin", "sbin", "lib", "lib64")
FOLDERS = ("proc", "dev", "sys", "tmp", "usr", "etc", "root")
FOREVER = ("/bin/sleep", "infinity")


class RunscCommand(Contender):
    """A contender that is the command ``runsc``, with state of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(self.held.enter_context(TemporaryDirectory(prefix="cloche-bench-", dir="/var/tmp")))
        self.home.chmod(0o755)
        self.runsc = shutil.which("runsc") or "runsc"
        self.command = [self.runsc, f"--root={self.home}/state", "--platform=ptrace", "--network=none"]
        self.command += ["--ignore-cgroups"]

    def find(self) -> str | None:
        if shutil.which("runsc") is None:
            return "runsc is not installed (apt: runsc)"
        return None if os.geteuid() == 0 else "runsc is compared as root: without, it makes no sandbox to run in again"

    def _good(self, ended: piped.Ended) -> None:
        if ended.exit_code != 0:
            raise WrongAnswerError(f"{self.name}: exit code {ended.exit_code}: {ended.last_words()}")


class RunscDo(RunscCommand):
    name = "runsc do"
    what = "Debian's `runsc do`: ptrace, no network, no control groups; the guest reads all of the host's files"

    def start(self) -> None:
        self._good(piped.run([*self.command, "do", TRUE], ENV))

    def answer(self, *program: str) -> Answer:
        ended = piped.run([*self.command, "do", *program], ENV)
        return Answer(ended.exit_code, ended.stdout)


class Runsc(RunscCommand):
    name = "runsc"
    what = "Debian's `runsc run`: ptrace, no network, no control groups, an empty root with the host's /usr read-only"

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.living: str | None = None
        self.true = self._bundle("true", (TRUE,))

    def start(self) -> None:
        self._good(piped.run([*self.command, "run", "--bundle", self.true, self._new_id()], ENV))

    def answer(self, *program: str) -> Answer:
        bundle = self._bundle("answer", program)
        ended = piped.run([*self.command, "run", "--bundle", bundle, self._new_id()], ENV)
        return Answer(ended.exit_code, ended.stdout)

    def exec(self) -> None:
        """Run /bin/true in the one sandbox that stays alive. A timed call."""
        if self.living is None:
            self.living = self._live()
        self._good(piped.run([*self.command, "exec", self.living, TRUE], ENV))

    def _new_id(self) -> str:
        self.count += 1
        return f"{os.getpid():016x}{self.count:016x}"  # of one length: runsc takes a beginning for the whole

    def _live(self) -> str:
        """Start a sandbox that stays, and give its id; it ends with the contender."""
        # What it leaves comes to us to be reaped: to be deleted it must be gone.
        if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
        name, bundle = self._new_id(), self._bundle("living", FOREVER)
        pid_file = self.home / "living.pid"
        command = [*self.command, "run", "--detach", "--pid-file", str(pid_file), "--bundle", bundle, name]
        launcher, ours = self.held.enter_context(piped.spawned(command, ENV))
        _, status = os.waitpid(launcher, 0)
        if status != 0:
            said = os.read(ours.stderr, piped.SHOWN)
            raise WrongAnswerError(f"{self.name}: a sandbox that stays did not start: {said!r}")
        self.held.callback(self._end, name, int(pid_file.read_text(encoding="ascii")))
        return name

    def _end(self, name: str, sandbox: int) -> None:
        os.kill(sandbox, signal.SIGKILL)
        with suppress(ChildProcessError):  # all are reaped: the sandbox and who served its files
            while True:
                os.waitpid(-1, 0)
        self._good(piped.run([*self.command, "delete", "-force", name], ENV))

    def _bundle(self, name: str, program: tuple[str, ...]) -> str:
        """Write what to run, and on what; give the folder."""
        bundle = self.home / name
        if not (bundle / "rootfs").exists():
            _lay_root(bundle / "rootfs")
        binds = ["/usr"]
        folder = str(Path(program[0]).parent)
        if not folder.startswith(("/usr", "/bin")):
            (bundle / "rootfs" / folder[1:]).mkdir(parents=True, exist_ok=True)
            binds.append(folder)
        (bundle / "config.json").write_text(json.dumps(_spec(program, binds)), encoding="utf-8")
        return str(bundle)


def _lay_root(root: Path) -> None:
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True)
    for link in LINKS:
        if Path("/", link).is_symlink():
            (root / link).symlink_to(Path("/", link).readlink())


def _spec(program: tuple[str, ...], binds: list[str]) -> dict[str, object]:
    kinds = ("bounding", "effective", "inheritable", "permitted", "ambient")
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": NOBODY, "gid": NOBODY},
            "args": list(program),
            "env": ["PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/tmp", "LANG=C.UTF-8"],
            "cwd": "/tmp",  # noqa: S108  # inside
            "capabilities": {kind: [] for kind in kinds},
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["mode=1777"]},  # noqa: S108  # inside
            *(
                {"destination": bound, "type": "bind", "source": bound, "options": ["rbind", "ro", "nosuid", "nodev"]}
                for bound in binds
            ),
        ],
        "linux": {"namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")]},
    }


GVISOR: dict[str, type[Contender]] = {peer.name: peer for peer in (Runsc, RunscDo)}
