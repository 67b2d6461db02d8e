"""A file system of one box's own in a file that has no name, mounted nowhere: whatever happens, nothing is left of it.

The file is made without a name (O_TMPFILE), given to a loop device that lets go of it with its last user
(LO_FLAGS_AUTOCLEAR), and mounted as a descriptor (fsmount(2)). So if this process is killed at any moment, the kernel
takes back the mount, the device and the file. No guest ever sees the device or the file, only what is in it; and no
image is mounted that wasn't made here a moment before.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import struct
import subprocess

import cloche_native as native

CONTROL = "/dev/loop-control"
_GET_FREE, _CONFIGURE = 0x4C82, 0x4C0A  # LOOP_CTL_GET_FREE, LOOP_CONFIGURE (Linux 5.8): linux/loop.h
_AUTOCLEAR = 4
_CONFIG = struct.Struct("=II 5Q 4I 64s 64s 32s 2Q 8Q")  # struct loop_config
_TRIES = 16
_TIMEOUT = 60.0


def problem() -> str:
    """Give why no image can be made here and what to do, "" if one can."""
    if os.geteuid() != 0:
        return "only root can mount an image; use a tmpfs or overlay workspace"
    if _maker() is None:
        return "mkfs.ext4 was not found; `apt install e2fsprogs` gives it"
    if not os.path.exists(CONTROL):
        return f"this machine has no loop devices ({CONTROL}, CONFIG_BLK_DEV_LOOP); use a tmpfs workspace"
    return ""


def make(folder: str, size: int, files: int | None) -> int:
    """Give a mount of a new, empty file system of ``size`` bytes and room for ``files``, attached nowhere.

    The file lies on the disk that ``folder`` is on and takes what is written, not more. The mount is a descriptor, the
    caller's to close, which takes all of it down unless it was attached meanwhile. Blocks for some 20 ms. Raises
    OSError, and ValueError with the words of mkfs.
    """
    file = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(file, size)
        _format(file, files)
        device, path = _attach(file)
        try:
            mount = native.mount_device("ext4", path)
        finally:
            os.close(device)
    finally:
        os.close(file)
    with contextlib.suppress(FileNotFoundError):
        os.rmdir("lost+found", dir_fd=mount)
    return mount


def _maker() -> str | None:
    return shutil.which("mkfs.ext4", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def _format(file: int, files: int | None) -> None:
    options = ["-q", "-F", "-m", "0", "-O", "^has_journal,^resize_inode", "-E", "nodiscard,root_owner=0:0"]
    options += ["-N", str(files)] if files is not None else []
    command = [_maker() or "mkfs.ext4", *options, f"/proc/self/fd/{file}"]
    try:
        done = subprocess.run(
            command, pass_fds=(file,), stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            timeout=_TIMEOUT, check=False, env={"PATH": os.defpath, "LC_ALL": "C"},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise TimeoutError(errno.ETIMEDOUT, f"mkfs.ext4 did not end within {_TIMEOUT:g} s") from None
    if done.returncode != 0:
        raise ValueError(f"mkfs.ext4: {' '.join(done.stderr.split())[-300:] or f'exit code {done.returncode}'}")


def _attach(file: int) -> tuple[int, str]:
    """Give a loop device of the file, open, and its path."""
    nothing = bytes(64)
    config = _CONFIG.pack(
        file, 0, 0, 0, 0, 0, 0, 0, 0, 0, _AUTOCLEAR, nothing, nothing, nothing[:32], *[0] * 2, *[0] * 8
    )  # fmt: skip
    control = os.open(CONTROL, os.O_RDWR | os.O_CLOEXEC)
    try:
        for _ in range(_TRIES):  # another process may take the device between the two calls
            path = f"/dev/loop{fcntl.ioctl(control, _GET_FREE)}"
            device = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.ioctl(device, _CONFIGURE, config)
            except OSError as error:
                os.close(device)
                if error.errno != errno.EBUSY:
                    raise
            else:
                return device, path
    finally:
        os.close(control)
    raise OSError(errno.EBUSY, "no loop device stays free", CONTROL)
