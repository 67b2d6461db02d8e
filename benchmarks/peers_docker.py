"""Docker as a peer of the gvisor runtime: a daemon of its own for each contender, of which nothing stays.

The programs are Debian's, unpacked below the cache by `setup_peers.sh` and not installed: no service, no group, no rule
of the packet filter. The daemon runs in a mount namespace of its own with a device of its own in place of /dev/null.
"""

import json
import os
import shutil
import signal
import subprocess
import tarfile
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

from benchmarks import piped
from benchmarks.peers import CACHE, TRUE, Answer, Contender, WrongAnswerError
from benchmarks.peers_gvisor import FOLDERS, FOREVER, LINKS

DOCKER = CACHE / "docker"
"""Where Debian's packages are unpacked."""
PATH = f"{DOCKER}/usr/bin:{DOCKER}/usr/sbin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
IMAGE = "cloche-bench"
START = 20.0
"""Seconds for the daemon to answer."""
APART = """\
mount --make-rprivate / && mount --bind "$0" /dev/null && mount -t tmpfs none /run && mount -t tmpfs none /opt &&
exec "$@"
"""


class Docker(Contender):
    """Docker with one of the runtimes that its daemon knows."""

    runtime: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(self.held.enter_context(TemporaryDirectory(prefix="cloche-bench-", dir="/var/tmp")))
        self.socket = self.home / "docker.sock"
        self.env = {"PATH": PATH, "HOME": str(self.home), "DOCKER_HOST": f"unix://{self.socket}"}
        self.group = f"cloche-bench-{os.getpid()}"
        self.daemon: subprocess.Popen[bytes] | None = None
        self.living = False

    def find(self) -> str | None:
        if os.geteuid() != 0:
            return "Docker's daemon needs root"
        lacking = [
            name for name in ("dockerd", "containerd", "docker", "runc") if shutil.which(name, path=PATH) is None
        ]
        if lacking:
            return f"{', '.join(lacking)} not in {DOCKER} (benchmarks/setup_peers.sh)"
        if self.runtime == "runsc" and shutil.which("runsc") is None:
            return "runsc is not installed (apt: runsc)"
        try:
            self._open()
        except (WrongAnswerError, OSError) as error:
            return str(error)
        return None

    def start(self) -> None:
        self._good(self._run(TRUE))

    def answer(self, *program: str) -> Answer:
        ended = self._run(*program)
        return Answer(ended.exit_code, ended.stdout)

    def exec(self) -> None:
        """Run /bin/true in the one container that stays alive. A timed call."""
        if not self.living:
            self._good(self._docker("run", "--detach", "--name=living", *self._how(), IMAGE, *FOREVER))
            self.living = True
        self._good(self._docker("exec", "--interactive", "living", TRUE))

    def close(self) -> None:
        """Remove the container, end the daemon, and remove what both left."""
        if self.daemon is not None and self.daemon.poll() is None:
            if self.living:
                self._docker("rm", "--force", "living")
            self.daemon.send_signal(signal.SIGTERM)
            try:
                self.daemon.wait(8)
            except subprocess.TimeoutExpired:
                self.daemon.kill()  # containerd is its child and dies with it
                self.daemon.wait()
        for folder in Path("/sys/fs/cgroup").glob(f"*/{self.group}"):
            with suppress(OSError):  # two controllers may share one folder
                folder.rmdir()
        super().close()

    def _run(self, *program: str) -> piped.Ended:
        folder = str(Path(program[0]).parent)
        shown = [] if folder.startswith(("/usr", "/bin")) else [f"--volume={folder}:{folder}:ro"]
        return self._docker("run", "--rm", *self._how(), *shown, IMAGE, *program)

    def _how(self) -> list[str]:
        # Interactive: without, a container's input is /dev/null.
        return [f"--runtime={self.runtime}", "--interactive", "--network=none", "--volume=/usr:/usr:ro",
                f"--cgroup-parent=/{self.group}", "--log-driver=none"]  # fmt: skip

    def _docker(self, *arguments: str) -> piped.Ended:
        return piped.run([str(DOCKER / "usr/bin/docker"), *arguments], self.env)

    def _good(self, ended: piped.Ended) -> None:
        if ended.exit_code != 0:
            raise WrongAnswerError(f"{self.name}: exit code {ended.exit_code}: {ended.last_words()}")

    def _open(self) -> None:
        """Start the daemon and give it an image; raises ``WrongAnswerError`` if it doesn't start."""
        null = self.home / "null"
        os.mknod(null, 0o20666, os.makedev(1, 3))
        null.chmod(0o666)
        config = self.home / "daemon.json"
        config.write_text(json.dumps(self._config()), encoding="utf-8")
        said = self.home / "daemon.log"
        with said.open("wb") as log:
            command = ["unshare", "--mount", "sh", "-c", APART, str(null), "dockerd", "--config-file", str(config)]
            self.daemon = subprocess.Popen(command, env=self.env, stdin=subprocess.PIPE, stdout=log, stderr=log)
        until = time.monotonic() + START
        while self._docker("version").exit_code != 0:
            if self.daemon.poll() is not None or time.monotonic() > until:
                words = said.read_bytes()[-piped.SHOWN :].decode("utf-8", "replace")
                raise WrongAnswerError(f"dockerd does not start here: {words.strip()}")
            time.sleep(0.1)
        self._good(self._docker("import", str(self._image()), IMAGE))

    def _config(self) -> dict[str, object]:
        arguments = ["--platform=ptrace", "--network=none", "--ignore-cgroups"]
        return {
            "data-root": f"{self.home}/data", "exec-root": f"{self.home}/exec", "pidfile": f"{self.home}/pid",
            "hosts": [f"unix://{self.socket}"], "deprecated-key-path": f"{self.home}/key.json",
            "bridge": "none", "iptables": False, "ip6tables": False, "ip-forward": False, "ip-masq": False,
            "userland-proxy": False, "exec-opts": ["native.cgroupdriver=cgroupfs"],
            "runtimes": {"runsc": {"path": shutil.which("runsc"), "runtimeArgs": arguments}},
        }  # fmt: skip

    def _image(self) -> Path:
        """Write the file system of the image: folders to mount at, and links into the /usr that is mounted."""
        image = self.home / "image.tar"
        with tarfile.open(image, "w") as archive:
            for name in FOLDERS:
                folder = tarfile.TarInfo(name)
                folder.type, folder.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(folder)
            for name in LINKS:
                if Path("/", name).is_symlink():
                    link = tarfile.TarInfo(name)
                    link.type, link.linkname = tarfile.SYMTYPE, str(Path("/", name).readlink())
                    archive.addfile(link)
        return image


class DockerRunc(Docker):
    name = "docker runc"
    what = "Debian's Docker with runc: --network=none, its default seccomp filter and capabilities, /usr read-only"
    runtime = "runc"


class DockerRunsc(Docker):
    name = "docker runsc"
    what = "the same with runsc in place of runc: ptrace, no control groups"
    runtime = "runsc"


DOCKERS: dict[str, type[Contender]] = {peer.name: peer for peer in (DockerRunc, DockerRunsc)}
