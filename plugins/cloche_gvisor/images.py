"""What cloche writes beside runsc's own files into the folder of an image."""

from __future__ import annotations

import os
import re
from typing import Final

from cloche import SnapshotError

NAME: Final = "sandbox"
_ID: Final = re.compile(rb"[A-Za-z0-9_+.-]{1,128}", re.ASCII)


def write_id(folder: str, sandbox: str) -> None:
    """Write the id by which the saved processes go. OSError where that can't be done."""
    fd = os.open(f"{folder}/{NAME}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with open(fd, "wb") as file:
        file.write(sandbox.encode())


def read_id(folder: str) -> str:
    """Give that id. Raises ``SnapshotError`` where it is not there: then the processes can't be steered."""
    try:
        fd = os.open(f"{folder}/{NAME}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(fd, "rb") as file:
            text = file.read(256)
    except OSError as error:
        told = f"the image does not say whose processes are in it ({error}); save the sandbox again"
        raise SnapshotError(told) from None
    if _ID.fullmatch(text) is None:
        raise SnapshotError(f"the image names {text[:40]!r} as the sandbox whose processes are in it; save it again")
    return text.decode()
