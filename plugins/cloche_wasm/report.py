"""What boxes of WebAssembly programs, and code without a process, keep: feature by feature."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from cloche import Enforced, Enforcement, Guarantee, InterpreterSpec, Kept, Partial, Spec, Unenforced

OTHER = "use a runtime with processes, e.g. namespaces"
_KERNEL: Final = Unenforced("the machine runs in this process, on the host's kernel", "use runtime gvisor")
_CODE: Final[Mapping[str, Kept]] = {
    Guarantee.PROCESS: Enforced("code runs in a memory of its own in a language machine, and is no process"),
    Guarantee.CAPABILITIES: Enforced("code holds nothing but the functions that it is given"),
    Guarantee.IDENTITY: Partial("code has no user", "what runs it is the calling user's process"),
    Guarantee.KERNEL: _KERNEL,
    Guarantee.PIDS: Enforced("code can start no process and no thread"),
    "stack": Enforced("the machine ends what needs more"),
    "host_calls": Enforced("calls of the host's functions are counted"),
    "source": Enforced("the length of code is checked before it is run"),
    "value": Enforced("values that cross are counted on both sides"),
}
"""What is so of every language."""
_THREAD: Final = "code runs in the thread of whoever runs it"


def of_code(spec: InterpreterSpec, own: Mapping[str, Kept]) -> Enforcement:
    """Give the report for code without a process; ``own`` is what its language adds."""
    features = {**_CODE, **own}
    if spec.limits.cpu is not None:
        features["cpu"] = (
            Enforced(f"{_THREAD}, and has no other")
            if spec.limits.cpu >= 1
            else Unenforced(f"{_THREAD}, which may take a whole processor", "give limits cpu=1 or more")
        )
    return Enforcement(features)


def of_box(spec: Spec) -> Enforcement:
    """Give the report for ``spec``."""
    features: dict[str, Kept] = {
        Guarantee.PROCESS: Enforced("its programs are no processes: threads of a machine, with memory of their own"),
        Guarantee.FILESYSTEM: Enforced("a file system in memory, and of the host what is mounted, opened beneath it"),
        Guarantee.NETWORK: _network(spec),
        Guarantee.SYSCALLS: Enforced("a program can make no system call; it calls the functions of WASI it is given"),
        Guarantee.CAPABILITIES: Enforced("a program holds nothing but the folders and streams it is given"),
        Guarantee.IDENTITY: Partial("a program has no user", "what runs it is the calling user's process"),
        Guarantee.KERNEL: _KERNEL,
        Guarantee.PAUSE: Unenforced("programs can't be stopped and continued", OTHER),
    }
    features |= _limits(spec) | _disk(spec) | _watching(spec)
    if problems := impossible(spec):
        features[Guarantee.FILESYSTEM] = Unenforced("; ".join(problems), OTHER)
    if spec.restricts_paths():
        features["paths"] = Unenforced("this runtime shows folders whole, to be read or written", OTHER)
    return Enforcement(features)


def impossible(spec: Spec) -> list[str]:
    """Give what of ``spec`` can't be shown to a program here."""
    out = []
    if spec.rootfs is not None:
        out.append("a rootfs holds programs of Linux, which do not run here")
    if spec.workspace.kind in ("overlay", "image"):
        out.append(f"an {spec.workspace.kind} workspace needs a kernel's file systems")
    return out


def _watching(spec: Spec) -> dict[str, Kept]:
    if not spec.monitor:
        return {}
    events = Enforced("each call of WASI is cloche's own, which tells what it was asked and what came of it")
    rules = Partial(
        "each call of WASI is judged before it is done, and by the path that it is then done by",
        "what is done to an open file is judged by the path that it was opened by",
    )
    return {"events": events, **({"rules": rules} if spec.monitor.rules else {})}


def _network(spec: Spec) -> Kept:
    if spec.network.mode == "none":
        return Enforced("no function of WASI that it is given opens a socket")
    return Unenforced("there is no network in WASI here", "use network='none', or a runtime with processes")


def _limits(spec: Spec) -> dict[str, Kept]:
    limits = spec.limits
    out: dict[str, Kept] = {}
    if limits.memory is not None:
        out["memory"] = Partial(
            "the machine refuses its programs more than this together",
            "tables of functions, at most 4 MiB a program, and compiled code are not counted",
        )
    if limits.cpu is not None:
        out["cpu"] = _processors(limits.cpu, os.cpu_count() or 1)
    if limits.pids is not None:
        out["pids"] = Enforced("a program can start no other; more at once than this are refused")
    if limits.open_files is not None:
        out["open_files"] = Enforced("a table of descriptors for each program")
    if limits.file_size is not None:
        out["file_size"] = Enforced("checked at each write")
    return out


def _processors(wanted: float, there: int) -> Kept:
    if wanted >= there:
        return Enforced("the host has no more")
    if wanted < 1:
        return Unenforced("a share of a processor can't be kept in one process", "give limits cpu=1 or more")
    return Partial("each program is one thread", "of programs that run at once each may take a processor")


def _disk(spec: Spec) -> dict[str, Kept]:
    if written := spec.written():
        why = f"{', '.join(written)} of the host is written directly and may grow"
        fix = "use a tmpfs workspace, or a folder on a file system of its own"
        return {Guarantee.DISK: Unenforced(why, fix), "files": Unenforced(why, fix)}
    return {
        Guarantee.DISK: Enforced("bytes in the file system in memory are counted"),
        "files": Enforced("names in the file system in memory are counted"),
    }
