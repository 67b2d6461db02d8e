"""Roads to the network and to sockets of the host; listeners on the host's loopback show whether anything arrives."""

from __future__ import annotations

import os
import select
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloche import Enforced, Mount, Unenforceable
from tests.escape.attack import Attack, Control, Sight, attack, attacks

if TYPE_CHECKING:
    from cloche import Sandbox
    from tests.escape.conftest import Create

Strike = Callable[..., Sight]
Stopped = Callable[[str], None]
LEVELS = ("enhanced", "maximum")


class Listeners:
    """Real listeners of the host: TCP and UDP on both loopbacks, Unix sockets by path and by abstract name."""

    def __init__(self, folder: Path) -> None:
        self.stream, self.datagram = str(folder / "stream"), str(folder / "datagram")
        self.abstract = f"@escape-{os.getpid()}"
        self._sockets = {
            "tcp4": _bound(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
            "udp4": _bound(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
            "stream": _bound(socket.AF_UNIX, socket.SOCK_STREAM, self.stream),
            "datagram": _bound(socket.AF_UNIX, socket.SOCK_DGRAM, self.datagram),
            "abstract": _bound(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + self.abstract[1:]),
        }
        with suppress(OSError):  # a machine without IPv6
            self._sockets["tcp6"] = _bound(socket.AF_INET6, socket.SOCK_STREAM, ("::1", 0))
            self._sockets["udp6"] = _bound(socket.AF_INET6, socket.SOCK_DGRAM, ("::1", 0))
        for path in (self.stream, self.datagram):
            Path(path).chmod(0o777)  # anybody may connect

    def address(self, name: str) -> tuple[str, ...]:
        """Give how an attack program is told where to go."""
        if name in ("stream", "datagram", "abstract"):
            return (getattr(self, name),)
        where = self._sockets[name].getsockname()
        return where[0], str(where[1])

    def heard(self) -> list[str]:
        """Give which have been reached since they were asked last."""
        ready, _, _ = select.select(list(self._sockets.values()), [], [], 0.02)
        for one in ready:
            if one.type == socket.SOCK_STREAM:
                one.accept()[0].close()
            else:
                one.recv(64)
        return sorted(name for name, one in self._sockets.items() if one in ready)

    def close(self) -> None:
        for one in self._sockets.values():
            one.close()


def _bound(family: int, kind: int, where: object) -> socket.socket:
    one = socket.socket(family, kind)
    try:
        one.bind(where)  # type: ignore[arg-type]  # each family has its own
        if kind == socket.SOCK_STREAM:
            one.listen(8)
    except OSError:
        one.close()
        raise
    return one


@pytest.fixture(scope="module")
def meeting(nothing_is_left: None) -> Iterator[Path]:  # noqa: ARG001 - it outlives this
    folder = Path(tempfile.mkdtemp(prefix="s-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def listeners(meeting: Path) -> Iterator[Listeners]:
    listeners = Listeners(meeting)
    yield listeners
    listeners.close()


def road(act: str, to: str, tries: str, *, known: str = "") -> Attack:
    return Attack(id=known or act, tries=tries, breaks="network", program=("network", act, to))


ROADS = [
    road("tcp4", "tcp4", "connect to a server on the host's loopback"),
    road("udp4", "udp4", "a datagram to the host's loopback"),
    road("tcp6", "tcp6", "connect by IPv6"),
    road("udp6", "udp6", "a datagram by IPv6"),
    road("fast-open", "tcp4", "connect by sending, without connect(2)"),
    road("multipath", "tcp4", "connect by another protocol that TCP servers accept"),
    road("dns", "udp4", "a question to a name server, with a secret in it"),
    road("unix-stream", "abstract", "an abstract Unix socket of the host", known="unix-abstract"),
]


@attacks(ROADS, levels=LEVELS)
def test_no_server_of_the_host_is_reached_by(
    attack: Attack,
    shared: Sandbox,
    listeners: Listeners,
    strike: Strike,
    open_box: Callable[..., Sight],
    stopped: Stopped,
) -> None:
    program, act, to = attack.program
    try:
        address = listeners.address(to)
    except KeyError:
        pytest.skip("no IPv6 loopback here")
    listeners.heard()
    assert open_box(program, act, *address, share=("net",), cache=False).done
    assert listeners.heard() == [to]
    found = strike(shared, program, act, *address)
    assert not found.done, found
    assert listeners.heard() == []
    stopped(found.words())


UNIX = [
    road("unix-stream", "stream", "a Unix socket of the host by its path", known="unix-path"),
    road("unix-datagram", "datagram", "the same for datagrams", known="unix-path-datagram"),
    road("unix-from-pair", "datagram", "the same from one end of a pair, without socket(2)"),
]


@attacks(UNIX, levels=LEVELS)
def test_no_socket_in_a_hidden_folder_of_the_host_is_reached_by(
    attack: Attack,
    shared: Sandbox,
    listeners: Listeners,
    meeting: Path,
    strike: Strike,
    open_box: Callable[..., Sight],
    stopped: Stopped,
) -> None:
    program, act, to = attack.program
    listeners.heard()
    assert open_box(program, act, *listeners.address(to), binds=(meeting,), cache=False).done
    assert listeners.heard() == [to]
    found = strike(shared, program, act, *listeners.address(to))
    assert not found.done, found
    assert listeners.heard() == []
    stopped(found.words())


@attack("unix-shown", "a host's Unix socket in a folder that is shown read-only", "network", levels=LEVELS)
def test_a_socket_in_a_folder_that_is_shown_is_out_of_reach_or_the_report_says_so(
    create: Create, listeners: Listeners, meeting: Path, strike: Strike, stopped: Stopped
) -> None:
    box = create(mounts=[Mount(str(meeting), str(meeting))])
    listeners.heard()
    kept = box.enforcement["network"]
    found = strike(box, "network", "unix-stream", listeners.stream)
    if isinstance(kept, Enforced):
        assert not found.done
        assert listeners.heard() == []
        stopped(found.words())
    else:
        assert "Unix sockets in the folders that are shown" in str(kept)
        assert found.done
        assert listeners.heard() == ["stream"]
        stopped("reached, as the report's caveat says")


def kind(act: str, tries: str, control: Control = "open") -> Attack:
    return Attack(id=act, tries=tries, breaks="network", program=("network", act), control=control)


KINDS = [
    kind("raw", "a raw socket"),
    kind("packet", "a packet socket, below IP"),
    kind("netlink", "bring an interface up by netlink"),
    kind("icmp", "ping"),
    kind("vsock", "a socket to the hypervisor", "marked"),
    kind("families", "every other family, from AX.25 to XDP", "marked"),
    kind("device-up", "bring an interface up by ioctl"),
]


@attacks(KINDS, levels=LEVELS)
def test_no_socket_is_made_for(
    attack: Attack, shared: Sandbox, strike: Strike, open_box: Callable[..., Sight], stopped: Stopped
) -> None:
    if attack.control == "marked":
        assert open_box("network", "--marked", attack.id).error == "ENOANO"
    else:
        assert open_box("network", attack.id).done
    found = strike(shared, *attack.program)
    assert not found.done, found
    stopped(found.words())


FAR = [
    Attack(
        id="metadata-address", tries="the metadata service of a cloud", breaks="network", program=("169.254.169.254",)
    ),
    Attack(id="private-address", tries="a machine of the local network", breaks="network", program=("10.0.0.1",)),
    Attack(id="public-address", tries="a name server of the internet", breaks="network", program=("192.0.2.1",)),
]


@attacks(FAR, levels=LEVELS)
def test_nothing_beyond_the_host_is_reached(
    attack: Attack,
    shared: Sandbox,
    strike: Strike,
    listeners: Listeners,
    open_box: Callable[..., Sight],
    stopped: Stopped,
) -> None:
    assert open_box("network", "tcp4", *listeners.address("tcp4"), share=("net",)).done
    listeners.heard()
    for act in ("tcp4", "udp4", "dns"):
        found = strike(shared, "network", act, *attack.program, "53")
        assert not found.done, found
    stopped(found.words())


@pytest.fixture
def looped(create: Create) -> Sandbox:
    """Give a box with a loopback of its own, where the runtime can."""
    try:
        return create(network="loopback")
    except Unenforceable as error:
        pytest.skip(f"no loopback of its own: {error}")


@attack("loopback-to-host", "reach the host's loopback by one of its own", "network", levels=("standard", "enhanced"))
def test_a_loopback_of_its_own_is_not_the_hosts(
    looped: Sandbox,
    listeners: Listeners,
    strike: Strike,
    hold: Callable[..., AbstractContextManager[Sight]],
    stopped: Stopped,
) -> None:
    with hold(looped, "network", "listen", "4821") as own:
        assert own.done
        assert strike(looped, "network", "tcp4", "127.0.0.1", "4821").done
    listeners.heard()
    for act in ("tcp4", "udp4", "tcp6", "fast-open"):
        address = listeners.address(act if act != "fast-open" else "tcp4")
        found = strike(looped, "network", act, *address)
        assert not found.done or act == "udp4"  # a datagram into nowhere is sent
    assert listeners.heard() == []
    for far in ("169.254.169.254", "192.0.2.1", "10.0.0.1"):
        assert strike(looped, "network", "tcp4", far, "80").error in ("ENETUNREACH", "EHOSTUNREACH")
    stopped("ECONNREFUSED, ENETUNREACH: no way out")


@attack(
    "listener-from-outside", "be a server that the host's network reaches", "network", levels=("standard", "enhanced")
)
def test_a_listener_in_a_box_is_not_the_hosts(
    looped: Sandbox, hold: Callable[..., AbstractContextManager[Sight]], strike: Strike, stopped: Stopped
) -> None:
    with hold(looped, "network", "listen", "4822") as own:
        assert own.done
        assert strike(looped, "network", "tcp4", "127.0.0.1", "4822").done
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", 4822), timeout=2)
    stopped("it listens in its own network alone")


@attack("port-taken", "take a port away from another box", "network", levels=("standard", "enhanced"))
def test_two_boxes_listen_at_the_same_port(
    looped: Sandbox, create: Create, hold: Callable[..., AbstractContextManager[Sight]], stopped: Stopped
) -> None:
    other = create(network="loopback")
    with hold(looped, "network", "listen", "4823") as one, hold(other, "network", "listen", "4823") as two:
        assert (one.done, two.done) == (True, True)
    stopped("each has ports of its own")


@attack("backlog-flood", "fill the kernel's queues with half-open connections", "network", levels=("enhanced",))
def test_a_flood_of_connections_stays_in_its_box(
    looped: Sandbox, create: Create, strike: Strike, listeners: Listeners, stopped: Stopped
) -> None:
    assert strike(looped, "network", "backlog", "5").done
    found = strike(looped, "network", "backlog", "1000000")
    assert (found.done, found.error) == (False, "EMFILE")
    host, port = listeners.address("tcp4")
    socket.create_connection((host, int(port)), timeout=5).close()
    assert listeners.heard() == ["tcp4"]
    assert strike(create(network="loopback"), "network", "backlog", "5").done
    stopped(found.words())
