from __future__ import annotations

import itertools
import os
import socket
import threading
from ipaddress import IPv4Interface
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloche_native import network

if TYPE_CHECKING:
    from collections.abc import Iterator

INSIDE, OUTSIDE = IPv4Interface("10.231.7.2/30"), IPv4Interface("10.231.7.1/30")

pytestmark = [
    pytest.mark.usefixtures("no_leaks"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root makes network namespaces"),
]


@pytest.fixture
def cable() -> Iterator[network.Cable]:
    made = network.cable(INSIDE, OUTSIDE)
    yield made
    made.close()


def connected(space: int, address: tuple[str, int], *, seconds: float = 1.0) -> socket.socket:
    made = network.socket_in(space)
    made.settimeout(seconds)
    try:
        made.connect(address)
    except BaseException:
        made.close()
        raise
    return made


def listening(space: int, address: str) -> socket.socket:
    made = network.socket_in(space)
    made.bind((address, 0))
    made.listen()
    return made


def test_what_is_inside_reaches_what_the_host_offers_outside(cable: network.Cable) -> None:
    server = listening(cable.outside, "10.231.7.1")
    with server, connected(cable.inside, server.getsockname(), seconds=10) as client:
        taken, address = server.accept()
        with taken:
            assert address[0] == "10.231.7.2"
            client.sendall(b"hello")
            assert taken.recv(5) == b"hello"


def test_neither_end_reaches_the_host_or_what_is_beyond(cable: network.Cable) -> None:
    with socket.socket() as server:
        server.bind(("0.0.0.0", 0))  # noqa: S104 - the host must be reachable in every way it has
        server.listen()
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), 5):
            pass
        hosts = {"127.0.0.1", "10.231.7.1", "10.231.7.5", "192.0.2.1"} | set(own_addresses())
        for space in (cable.inside, cable.outside):
            for host in sorted(hosts):
                with pytest.raises(OSError):  # noqa: PT011 - refused, unreachable and no answer are all as good
                    connected(space, (host, port), seconds=0.2)


def own_addresses() -> list[str]:
    """Give the addresses of this machine, as the kernel's own table of local ones tells (/proc/net/fib_trie)."""
    lines = Path("/proc/net/fib_trie").read_text().splitlines()
    return [line.split()[-1] for line, after in itertools.pairwise(lines) if "/32 host LOCAL" in after]


def test_two_cables_of_the_same_addresses_are_apart(cable: network.Cable) -> None:
    other = network.cable(INSIDE, OUTSIDE)
    with listening(cable.outside, "10.231.7.1") as server, pytest.raises(ConnectionRefusedError):
        connected(other.inside, server.getsockname(), seconds=10)
    other.close()


def test_each_end_has_a_loopback_of_its_own(cable: network.Cable) -> None:
    for space in (cable.inside, cable.outside):
        with listening(space, "127.0.0.1") as server:
            connected(space, server.getsockname(), seconds=10).close()


def test_this_process_stays_where_it_was(cable: network.Cable) -> None:
    spaces = {os.readlink(f"/proc/self/task/{task}/ns/net") for task in os.listdir("/proc/self/task")}
    assert len(spaces) == 1
    assert os.fstat(cable.inside).st_ino != os.stat("/proc/self/ns/net").st_ino != os.fstat(cable.outside).st_ino


def test_a_socket_keeps_its_network_when_the_descriptors_are_gone() -> None:
    made = network.cable(INSIDE, OUTSIDE)
    with listening(made.outside, "10.231.7.1") as server:
        client = network.socket_in(made.inside)
        made.close()
        with client:
            client.settimeout(10)
            client.connect(server.getsockname())


@pytest.mark.parametrize(
    ("inside", "outside"),
    [("10.0.0.1/30", "10.0.0.1/30"), ("10.0.0.1/30", "10.0.0.5/30"), ("10.0.0.1/30", "10.0.0.2/24")],
)
def test_addresses_that_can_not_meet_are_refused(inside: str, outside: str) -> None:
    with pytest.raises(ValueError, match="no two addresses"):
        network.cable(IPv4Interface(inside), IPv4Interface(outside))


def test_what_is_no_network_is_refused() -> None:
    with open("/proc/self/ns/uts", "rb") as other, pytest.raises(OSError, match="Invalid"):
        network.socket_in(other.fileno())
    with pytest.raises(OSError, match="Bad file"):
        network.socket_in(-1)


def test_many_at_once_leave_nothing() -> None:
    made: list[network.Cable] = []
    threads = [threading.Thread(target=lambda: made.append(network.cable(INSIDE, OUTSIDE))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    for one in made:
        one.close()
