"""What several rules speak of: acts that change files, shells, the secrets of a machine."""

from __future__ import annotations

from typing import Any, Final

from cloche import Act, Condition, Example, F

WRITES: Final = frozenset({
    Act.WRITE_OPEN, Act.CREATE, Act.MKNOD, Act.RENAME, Act.LINK, Act.SYMLINK, Act.TRUNCATE, Act.WRITE,
})  # fmt: skip
"""What can give a path other content."""
CHANGES: Final = WRITES | {Act.UNLINK, Act.MKDIR, Act.CHMOD, Act.CHOWN, Act.XATTR}
"""What can change a path in any way but its times."""
READS: Final = frozenset({Act.OPEN, Act.READ})
"""What shows content: asked for only by rules with the tag ``reads``, since watching it costs."""
RUN: Final = frozenset({Act.EXEC})

SHELLS: Final = ("sh", "bash", "dash", "ash", "zsh", "ksh", "busybox")
TAGS: Final = {
    "accounts": "users, groups and passwords",
    "credentials": "secrets: keys, tokens, password files",
    "discovery": "looking around",
    "escape": "ways out of a sandbox",
    "execution": "how programs are started",
    "files": "paths, links, hidden files, times",
    "injection": "reaching into other processes",
    "kernel": "parts of the kernel that few programs need",
    "lists": "made from lists of known bad things that the configuration names",
    "neighbours": "contact with what is outside this sandbox on the same machine",
    "network": "addresses and sockets",
    "persistence": "what would run again later",
    "reads": "needs opening files to read to be watched (depth full), which costs; leave out with `without`",
    "resources": "using up the machine",
    "rights": "more rights than were given",
    "traces": "logs, histories and what watches",
}
"""What each tag means; a rule has no others."""

SECRETS: Final = (
    "/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/master.passwd", "/etc/security/opasswd",
    "/etc/sudoers", "/etc/sudoers.d/*", "/etc/ssh/ssh_host_*_key", "/etc/krb5.keytab",
)  # fmt: skip
"""Files of a machine that no program of a sandbox has business with, wherever its home is."""
KERNEL_FILES: Final = ("/proc/kcore", "/proc/kmem", "/dev/mem", "/dev/kmem", "/dev/port", "/proc/kallsyms")
SOCKETS: Final = (
    "**/docker.sock", "**/containerd.sock", "**/crio.sock", "**/podman.sock", "**/dockershim.sock", "**/buildkitd.sock",
    "**/lxd/unix.socket",
)  # fmt: skip
"""Sockets of daemons that start containers."""


def at(*patterns: str) -> Condition:
    """Hold where one of the paths of an act, asked for or led to, old or new, matches; not what a symlink says."""
    return F.file.glob(*patterns) | (F.to.glob(*patterns) & ~F.call.one_of("symlink", "symlinkat"))


def runs(*names: str) -> Condition:
    """Hold where a program of one of these names is started."""
    return F.name.one_of(*names)


def says(*parts: str) -> Condition:
    """Hold where the arguments of a program, joined by spaces, have one of these in them."""
    return F.cmdline.contains(*parts)


def ran(*argv: str, path: str | None = None, env: str | None = None) -> dict[str, Any]:
    """Give the event of a program that is started, for examples; its path follows from its name."""
    event = {"act": "exec", "path": path or f"/usr/bin/{argv[0]}", "argv": list(argv)}
    return event if env is None else {**event, "env": [env]}


def did(act: str, path: str | None = None, target: str | None = None, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - plain data
    """Give an event for examples; keywords are numbers of its act, or ``pid at call flags resolved exec``."""
    texts = {"path": path, "target": target}
    event: dict[str, Any] = {"act": act, **{name: text for name, text in texts.items() if text is not None}}
    for name in ("pid", "at", "call", "flags", "resolved", "exec"):
        if name in more and not (name == "flags" and isinstance(more[name], int)):
            event[name] = more.pop(name)
    return {**event, "args": more} if more else event


def hit(*events: dict[str, Any], **profile: Any) -> Example:  # noqa: ANN401 - plain data
    """Give an example that must match."""
    return Example(events, profile=profile)


def miss(*events: dict[str, Any], **profile: Any) -> Example:  # noqa: ANN401 - plain data
    """Give an honest look-alike, which must not."""
    return Example(events, match=False, profile=profile)
