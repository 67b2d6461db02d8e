"""The isolated network: what the host offers is reached, and nothing else is."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloche import Host, Network, SandboxError, SpecError, StartError, StateError, Unenforceable, Unsupported
from cloche_gvisor import own_network, report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TRY = """
import socket, sys
for place in sys.argv[1:]:
    host, port = place.rsplit(":", 1)
    try:
        with socket.create_connection((host, int(port)), 1) as line:
            print(place, line.recv(100).decode())
    except OSError as error:
        print(place, "refused")
"""
HOLDING = """
import time
import cloche
host = cloche.Host().__enter__()
box = host.create(runtime="gvisor", network="isolated")
held = box.listen(0)
print(box.info().get("agent_pid") or box.info()["sentry_pid"], flush=True)
time.sleep(60)
"""
rootful = pytest.mark.skipif(os.geteuid() != 0, reason="only root has a network namespace to give")


@pytest.fixture
def host(no_leaks: None, host_of: Callable[[str], Host]) -> Host:  # noqa: ARG001 - it looks when all is over
    return host_of("gvisor")


@pytest.fixture
def serve() -> Iterator[Callable[[socket.socket, bytes], tuple[str, int]]]:
    """Have a listening socket greet whoever connects with some bytes, and give its address."""
    threads: list[threading.Thread] = []
    listeners: list[socket.socket] = []

    def body(listener: socket.socket, greeting: bytes) -> None:
        with suppress(OSError):  # shut down at the end
            while True:
                line, _ = listener.accept()
                with line:
                    line.sendall(greeting)

    def start(listener: socket.socket, greeting: bytes) -> tuple[str, int]:
        listeners.append(listener)
        threads.append(threading.Thread(target=body, args=(listener, greeting)))
        threads[-1].start()
        address: tuple[str, int] = listener.getsockname()
        return address

    yield start
    for listener in listeners:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    for thread in threads:
        thread.join()


def local_addresses() -> set[str]:
    """Give the addresses of this machine, from the kernel's table of local ones (/proc/net/fib_trie)."""
    lines = Path("/proc/net/fib_trie").read_text().splitlines()
    return {line.split()[-1] for line, after in itertools.pairwise(lines) if "/32 host LOCAL" in after}


@rootful
def test_what_the_host_offers_is_reached_and_nothing_else(
    host: Host, serve: Callable[[socket.socket, bytes], tuple[str, int]]
) -> None:
    everywhere = socket.create_server(("0.0.0.0", 0))  # noqa: S104 - each way to the host must be tried
    _, port = serve(everywhere, b"the host itself")
    with socket.create_connection(("127.0.0.1", port), 5) as line:
        assert line.recv(100) == b"the host itself"
    with host.create(network="isolated") as box:
        assert not box.enforcement.refusals({"network"})
        name, offered = serve(box.listen(0), b"offered")
        closed = [f"{address}:{port}" for address in sorted(local_addresses() | {name, "192.0.2.1", "10.231.7.9"})]
        done = box.exec("python3", "-c", TRY, f"{name}:{offered}", *closed)
        lines = done.text.splitlines()
        assert lines[0] == f"{name}:{offered} offered", done
        assert lines[1:] == [f"{place} refused" for place in closed]


@rootful
def test_two_boxes_are_apart_though_their_addresses_are_the_same(
    host: Host, serve: Callable[[socket.socket, bytes], tuple[str, int]]
) -> None:
    with host.create(network="isolated") as one, host.create(network="isolated") as other:
        name, port = serve(one.listen(8080), b"one")
        assert serve(other.listen(8080), b"other") == (name, port)
        guest = str(own_network.INSIDE.ip)
        source = (
            "import socket\ns = socket.create_server(('', 8099))\nprint('up', flush=True)\n"
            "while True: s.accept()[0].sendall(b'own')"
        )
        listening = one.spawn("python3", "-c", source)
        assert next(listening.lines()).strip() == "up"
        for box, greeting in ((one, "one"), (other, "other")):
            assert box.exec("python3", "-c", TRY, f"{name}:{port}").text == f"{name}:{port} {greeting}\n"
        assert other.exec("python3", "-c", TRY, f"{guest}:8099").text == f"{guest}:8099 refused\n"
        assert one.exec("python3", "-c", TRY, f"{guest}:8099").text == f"{guest}:8099 own\n"


@rootful
def test_listening_has_its_errors(host: Host) -> None:
    box = host.create(network="isolated")
    with box.listen(8080), pytest.raises(SandboxError, match="Address already in use"):
        box.listen(8080)
    for port in (-1, 65536, True):
        with pytest.raises(SpecError, match="port"):
            box.listen(port)
    box.delete()
    with pytest.raises(StateError):
        box.listen(8080)


@pytest.mark.parametrize("mode", ["none", "loopback"])
def test_other_networks_have_no_other_end(host: Host, mode: str) -> None:
    with host.create(network=mode) as box:  # type: ignore[arg-type]
        with pytest.raises(Unsupported, match="isolated"):
            box.listen(8080)
        done = box.exec("python3", "-c", "import socket; socket.socket()")
        assert done.ok == (mode == "loopback")
        shown = box.exec("cat", "/proc/net/dev").text
        assert [line.split(":")[0].strip() for line in shown.splitlines() if ":" in line] == ["lo"]


@pytest.mark.parametrize("runtime", ["process", "bwrap", "namespaces"])
def test_runtimes_that_make_none_say_so(host_of: Callable[[str], Host], runtime: str) -> None:
    host = host_of(runtime)
    with pytest.raises(Unenforceable, match="other end"):
        host.create(runtime=runtime, network="isolated")
    with host.create(runtime=runtime, network="isolated", strict=False) as box:
        done = box.exec("cat", "/proc/net/dev")
        if runtime != "process":
            assert "eth" not in done.text
        with pytest.raises(Unsupported):
            box.listen(0)


def test_without_root_it_is_refused(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    with host.create() as box:
        spec = box.spec
    facts = {"platform": "ptrace", "release": "4.4.0", "status": {}, "unshared": False, "isolated": "without root"}
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    asked = replace(spec, network=Network("isolated"))
    kept = report.report(asked, facts, version="x", grouped=None)
    assert "without root" in kept.refusals({"network"})["network"]


@rootful
def test_a_cable_that_can_not_be_laid_is_told_and_leaves_nothing(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(95, "no veth here")

    monkeypatch.setattr("cloche_native.network.cable", fail)
    with pytest.raises(StartError, match="no veth here"):
        host.create(network="isolated")


@rootful
def test_with_a_killed_host_the_network_is_gone(host: Host, orphans: Callable[[], list[str]]) -> None:
    assert host.unavailable("gvisor") is None
    before = networks()
    named = sorted(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else []
    with subprocess.Popen([sys.executable, "-c", HOLDING], stdout=subprocess.PIPE, text=True) as holding:
        assert holding.stdout is not None
        assert int(holding.stdout.readline()) > 0
        assert networks() - before
        holding.send_signal(signal.SIGKILL)
    until = time.monotonic() + 20
    while networks() - before or orphans():
        assert time.monotonic() < until, (networks() - before, orphans())
        time.sleep(0.05)
    host.sweep()
    assert (sorted(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else []) == named


def networks() -> set[str]:
    """Give the network namespaces that a process of this machine is in, or has open."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            found.add(os.readlink(process / "ns/net"))
            for fd in os.listdir(process / "fd"):
                with suppress(OSError):
                    target = os.readlink(process / "fd" / fd)
                    found |= {target} if target.startswith("net:") else set()
    return found
