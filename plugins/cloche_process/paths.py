"""What of the host every program may read: the system's folders, and the files of /etc that programs need to run."""

from __future__ import annotations

import os
from functools import cache

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64")
ETC = (
    "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "ssl/certs", "ssl/openssl.cnf", "ca-certificates",
    "localtime", "mime.types", "protocols", "services", "terminfo", "os-release", "passwd", "group", "nsswitch.conf",
    "hosts", "python3", "perl", "inputrc", "magic",
)  # fmt: skip


@cache
def system_folders() -> tuple[str, ...]:
    """Give the system's folders, symbolic links resolved, each once."""
    return tuple(sorted({os.path.realpath(path) for path in SYSTEM if os.path.isdir(path)}))


@cache
def etc_files() -> tuple[str, ...]:
    """Give the files and folders of /etc that exist."""
    return tuple(path for name in ETC if os.path.exists(path := f"/etc/{name}"))
