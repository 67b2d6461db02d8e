"""The three isolation levels that come with cloche."""

from __future__ import annotations

from cloche import Guarantee, IsolationLevel, Limits, Severity, hookimpl

_G = Guarantee

STANDARD = IsolationLevel(
    name="standard",
    summary="trusted authors, untrusted bugs: sealed off, generous, the host's network if asked for",
    guarantees=frozenset({_G.PROCESS, _G.FILESYSTEM, _G.NETWORK}),
    limits=Limits(memory="2G", cpu=2, pids=512, open_files=4096, file_size="1G", output="64M", wall="15m"),
    networks=frozenset({"none", "loopback", "isolated", "host"}),
    syscalls="standard",
    overload="count",
    auto_block=Severity.CRITICAL,
)

ENHANCED = IsolationLevel(
    name="enhanced",
    summary="untrusted code: no privilege, no network, dangerous system calls refused",
    guarantees=STANDARD.guarantees | {_G.SYSCALLS, _G.CAPABILITIES, _G.IDENTITY},
    limits=Limits(memory="512M", cpu=1, pids=128, open_files=1024, file_size="256M", output="16M", wall="5m"),
    networks=frozenset({"none", "loopback", "isolated"}),
    syscalls="enhanced",
    auto_block=Severity.HIGH,
)

MAXIMUM = IsolationLevel(
    name="maximum",
    summary="hostile code: listed system calls only, memory-backed writing only, no view of the machine",
    guarantees=ENHANCED.guarantees | {_G.PIDS, _G.DISK},
    limits=Limits(memory="256M", cpu=1, pids=32, open_files=256, file_size="32M", output="4M", wall=60),
    networks=frozenset({"none"}),
    workspaces=frozenset({"tmpfs", "overlay"}),
    overloaded="kill",
    auto_block=Severity.MEDIUM,
    auto_terminate=Severity.HIGH,
    syscalls="maximum",
    minimal_proc=True,
    path_rules=True,
    prefer="strong",
)


@hookimpl
def cloche_isolation_levels() -> list[IsolationLevel]:
    """Provide standard, enhanced and maximum."""
    return [STANDARD, ENHANCED, MAXIMUM]
