"""A small /etc for guests: what programs need to run, nothing of the host's users, keys or services.

It is built once per host machine and bound read-only. One bind costs a box about 0.1 ms; binding each file would cost
ten times that.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from cloche.machine import state_folder

COPIED = (
    "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "ssl/certs", "ssl/openssl.cnf", "ca-certificates",
    "pki/tls/certs", "localtime", "mime.types", "protocols", "services", "terminfo", "inputrc", "debian_version",
    "os-release", "magic", "python3", "python3.11", "python3.12", "python3.13", "perl", "java-17-openjdk",
    "java-21-openjdk", "node", "fonts", "gai.conf", "host.conf", "rpc", "networks", "bash.bashrc",
)  # fmt: skip
WRITTEN = {
    "passwd": "root:x:0:0:root:/root:/bin/sh\nsandbox:x:1000:1000:sandbox:/workspace:/bin/sh\n"
    "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
    "group": "root:x:0:\ntty:x:5:\nsandbox:x:1000:\nnogroup:x:65534:\n",
    "hosts": "127.0.0.1 localhost cloche\n::1 localhost cloche\n",
    "hostname": "cloche\n",
    "resolv.conf": "",  # where the host's is mounted over if the box has its network
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n",
    "profile": "",
    "environment": "",
}


def etc_folder() -> Path:
    """Give the folder to bind as /etc, built anew if the host's has changed since."""
    target = state_folder() / f"etc-{_fingerprint()}"
    if target.is_dir():
        return target
    part = Path(tempfile.mkdtemp(prefix="etc-", dir=target.parent))
    try:
        _fill(part)
    except OSError:  # the disk is full, say: nothing half made stays
        shutil.rmtree(part)
        raise
    try:
        part.rename(target)
    except OSError:  # another host was first; its copy is the same
        shutil.rmtree(part)
    for old in target.parent.glob("etc-*"):
        if old != target and old.stat().st_mtime < target.stat().st_mtime - 86400:
            shutil.rmtree(old)
    return target


def _fill(folder: Path) -> None:
    for name in COPIED:
        _copy(Path("/etc") / name, folder / name)
    for name, text in WRITTEN.items():
        (folder / name).write_text(text)
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)


def _copy(source: Path, target: Path) -> None:
    if not os.path.lexists(source):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, ignore=_unreadable, ignore_dangling_symlinks=True)
    elif _world_readable(source):
        shutil.copyfile(source, target)


def _unreadable(folder: str, names: list[str]) -> list[str]:
    # Certificates are public; private keys beside them are not, and only root could copy them.
    return [n for n in names if "private" in n or not _world_readable(Path(folder) / n)]


def _world_readable(path: Path) -> bool:
    return path.is_symlink() or bool(path.stat().st_mode & 0o004)


def _fingerprint() -> str:
    parts = [repr((COPIED, WRITTEN))]
    for name in COPIED:
        path = Path("/etc") / name
        if os.path.lexists(path):
            parts.append(f"{name} {path.lstat().st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
