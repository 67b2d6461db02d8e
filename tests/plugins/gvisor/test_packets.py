"""What the sentry of this machine's runsc really sends: the decoder and its plain reading agree on it."""

from __future__ import annotations

import contextlib
import os
import platform
import socket
from typing import TYPE_CHECKING

import anyio
import pytest

from cloche import Act
from cloche_gvisor import session
from cloche_gvisor.contract import GuestProgram
from cloche_gvisor.control import connect
from cloche_native import events
from cloche_native.seccheck import Decoder
from tests.native.reference_seccheck import PlainDecoder

if TYPE_CHECKING:
    from cloche_gvisor.contract import Target

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="call numbers here are x86_64's")

SOURCE = r"""
cd /tmp; echo hello > plain; cat plain; /usr/bin/env true; ./nothing
mkdir "$(printf '\377')"; : > "$(printf '\377/../x')"; cd "$(printf '\377')"; cat /etc/passwd
/usr/bin/true "$(printf '\377')"; exit 5
"""


def record(target: Target) -> list[bytes]:
    """Have a program watched from its start to its end, and give what the sentry sent."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    asked = session.asked(frozenset(Act))

    async def body() -> None:
        control = await connect(target)
        try:
            await control.trace_create(asked.session, [theirs.fileno()])
            out, into = os.pipe()
            with os.fdopen(out, "rb"), os.fdopen(into, "wb"):
                argv = ("/bin/sh", "-c", SOURCE)
                program = GuestProgram(argv=argv, uid=1000, gid=1000, env=("PATH=/usr/bin",), cwd="/")
                pid = await control.exec(program, (out, into, into))
                assert (await control.wait(pid)).code == 5
            await control.trace_delete(session.NAME)
        finally:
            control.close()

    packets: list[bytes] = []
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    with ours, theirs:
        anyio.run(body)
        ours.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while packet := ours.recv(1 << 20):
                packets.append(packet)
    return packets


def test_what_a_sentry_sends_is_told_as_the_plain_reading_tells_it(target: Target) -> None:
    packets, shadows = record(target), frozenset(session.shadows())
    plain = PlainDecoder(sandbox=0, shadows=shadows, init=False)
    wanted = [events.unpack(raw) for packet in packets for raw in plain.feed(packet, 0)]
    wanted += [events.unpack(raw) for raw in plain.flush(0)]
    decoder = Decoder(shadows=shadows)
    told = list(events.iterate(decoder.feed(packets) + decoder.flush()))
    assert [each._replace(number=0) for each in told] == wanted
    assert decoder.counts()[:4] == (len(packets), 0, 0, 0)
    paths = {each.path for each in told}
    assert b"/tmp/plain" in paths
    starts = [each for each in told if each.act == events.ACTS["exec"]]
    assert any(each.target == b"/usr/bin/env\0true\0" and each.resolved for each in starts)


def test_a_text_that_is_no_utf8_hides_no_act(target: Target) -> None:
    """The sentry says nothing of a call with such a text but its registers; each is told, without its text."""
    shadows = frozenset(session.shadows())
    told = list(events.iterate(Decoder(shadows=shadows).feed(record(target))))
    unread = [events.ACT_NAMES[each.act] for each in told if each.flags & events.FLAGS["unreadable"]]
    assert {"create", "chdir", "exec"} <= set(unread)
