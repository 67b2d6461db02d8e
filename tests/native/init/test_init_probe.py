"""The self-test: the same questions where nothing is sealed and where everything is, so each answer has its control."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import cloche_native as native
from cloche_native.agent import ExecFlag, Exited, Refused, Stage, Started
from tests.native.init.boxes import UID

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche_native.agent import Setup
    from tests.native.init.boxes import Box

Facts = dict[str, Any]


def probe(box: Box) -> Facts:
    reading, writing = os.pipe()
    started = box.start(flags=ExecFlag.PROBE | ExecFlag.STDOUT, fds=[writing])
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        facts: Facts = json.loads(pipe.read())
    assert box.expect(Exited, started.id).status == 0
    assert facts["pid"] == started.pid
    return facts


@pytest.fixture
def facts(box: Box) -> Facts:
    return probe(box)


@pytest.fixture
def open_facts(launch: Callable[..., Box], bare: Setup) -> Facts:
    """What the self-test finds where nothing but no_new_privs and an unprivileged uid stands in its way."""
    return probe(launch("bare").ready(bare))


@pytest.fixture
def sealed_facts(launch: Callable[..., Box], sealed: Setup, roomy: None) -> Facts:  # noqa: ARG001 - may skip
    limits = [(7, 64, 64), (9, 256 << 20, 256 << 20)]  # open files, address space
    return probe(launch("bwrap").ready(replace(sealed, pids=20, rlimits=limits)))


def test_every_question_has_an_answer(facts: Facts) -> None:
    assert set(facts) == {
        "version", "seccomp", "no_new_privs", "uid", "gid", "groups", "pid", "ppid", "sid", "capabilities", "uid_map",
        "processes", "descriptors", "calls", "files", "sockets", "signals", "interfaces", "namespaces", "limits",
        "forks", "mmap over address_space",
    }  # fmt: skip
    assert set(facts["calls"]) == {
        "io_uring_setup", "userfaultfd", "bpf", "perf_event_open", "keyctl", "add_key", "kexec_load", "init_module",
        "ptrace", "process_vm_readv_parent", "process_vm_readv_init", "unshare_user", "clone_user", "clone3", "mount",
        "setns", "open_by_handle_at", "tiocsti", "x32", "i386",
    }  # fmt: skip
    assert set(facts["namespaces"]) == {"cgroup", "ipc", "mnt", "net", "pid", "user", "uts"}
    assert len(facts["limits"]) == 16
    for group in ("calls", "files", "sockets", "signals"):
        for name, answer in facts[group].items():
            assert answer in ("ok", "absent", "killed") or answer.startswith("E"), (group, name, answer)


def test_what_the_self_test_is_itself(facts: Facts, kind: str) -> None:
    assert facts["no_new_privs"] == 1
    assert facts["pid"] == facts["sid"] != facts["ppid"]
    assert facts["descriptors"] == []
    assert facts["uid"] == (os.getuid() or UID if kind == "bare" else 1000)
    assert facts["capabilities"]["effective"] == "0" * 16
    assert (facts["uid_map"].split() == ["0", "0", "4294967295"]) == (kind == "bare")


def test_an_open_box_is_called_open(open_facts: Facts) -> None:
    calls = open_facts["calls"]
    for name in ("ptrace", "clone3", "add_key", "unshare_user", "clone_user", "io_uring_setup"):
        assert calls[name] == "ok", name
    assert calls["i386"] in {"x86_64": ("ok", "killed by 11")}.get(platform.machine(), ("absent",))
    assert calls["process_vm_readv_parent"] == "EPERM"
    for name in ("inet", "unix", "netlink"):
        assert open_facts["sockets"][name] == "ok"
    assert open_facts["sockets"]["connect 127.0.0.1:1"] == "ECONNREFUSED"
    assert open_facts["signals"] == {"parent": "ok", "init": "EPERM"}
    assert open_facts["files"]["create /tmp"] == "ok"
    assert open_facts["processes"] > 3
    assert len(open_facts["interfaces"]) > 1
    assert open_facts["namespaces"]["pid"] == os.readlink("/proc/self/ns/pid")
    assert (open_facts["forks"], open_facts["mmap over address_space"]) == ("not tried", "not tried")
    assert open_facts["limits"]["address_space"] == ["unlimited", "unlimited"]


def test_a_sealed_box_is_called_sealed(sealed_facts: Facts) -> None:
    assert set(sealed_facts["capabilities"].values()) == {"0" * 16}
    assert sealed_facts["processes"] in (3, 4)  # cloche-init, its shepherd, the self-test; the shepherd that waits
    assert sealed_facts["interfaces"] == ["lo"]
    for name, link in sealed_facts["namespaces"].items():
        assert link.startswith(f"{name}:[")
        assert link != os.readlink(f"/proc/self/ns/{name}")
    assert sealed_facts["files"] == {
        "write /proc/sys/kernel/core_pattern": "ENOENT",
        "create /usr": "EROFS",
        "create /etc": "EROFS",
        "create /": "EROFS",
        "create /tmp": "ok",
        "create .": "EROFS",
        "read /etc/shadow": "EACCES",
        "read /root": "ENOENT",
        "read /home": "ENOENT",
        "read /usr": "ok",
        "read /var/log": "ENOENT",
        "read /proc/1/environ": "EACCES",
        "read /proc/kallsyms": "ENOENT",
        "read /sys/kernel": "ENOENT",
        "write /dev/null": "ok",
        "read /dev/kmsg": "ENOENT",
    }
    for name in ("mount", "setns", "process_vm_readv_parent", "process_vm_readv_init", "open_by_handle_at"):
        assert sealed_facts["calls"][name] == "EPERM", name
    assert sealed_facts["sockets"]["connect 127.0.0.1:1"] == "ECONNREFUSED"
    assert sealed_facts["signals"]["parent"] == "ok"
    assert sealed_facts["limits"]["open_files"] == [64, 64]
    assert sealed_facts["forks"] == "19"  # twenty processes, itself among them
    assert sealed_facts["mmap over address_space"] == "ENOMEM"


def test_a_filter_shows_in_every_call_it_denies(launch: Callable[..., Box], kind: str, setup: Setup) -> None:
    code = native.seccomp_program("maximum", sockets="none")
    facts = probe(launch(kind).ready(replace(setup, seccomp=code)))
    assert facts["seccomp"] == 2
    open_calls = {name for name, answer in facts["calls"].items() if answer == "ok"}
    assert open_calls == set()
    assert {facts["calls"][name] for name in ("x32", "i386")} <= {"killed", "absent", "ENOSYS"}
    assert set(facts["sockets"].values()) <= {"EPERM", "EACCES", "EAFNOSUPPORT", "ENOSYS"}


def test_a_terminal_is_tried_for_injection(box: Box) -> None:
    exec_id = box.spawn(flags=ExecFlag.PROBE | ExecFlag.PTY)
    started = box.expect(Started, exec_id)
    assert started.terminal is not None
    text = b""
    while True:
        try:
            part = os.read(started.terminal, 4096)
        except OSError:
            break
        text += part
    os.close(started.terminal)
    assert json.loads(text[text.index(b"{") :])["calls"]["tiocsti"] in ("ok", "EIO", "EPERM")
    assert box.expect(Exited, exec_id).status == 0


def test_a_seal_that_fails_refuses_the_self_test_too(launch: Callable[..., Box], bare: Setup) -> None:
    box = launch("bare").ready(replace(bare, rlimits=[(7, 1 << 30, 1 << 30)]))
    box.spawn(flags=ExecFlag.PROBE)
    assert box.next() == Refused(1, 1, Stage.LIMITS)
