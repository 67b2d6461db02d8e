"""The wire between two hosts: what was sent arrives, and no bytes hurt whoever reads them."""

from __future__ import annotations

import json
import os
import signal
import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche import errors
from cloche.enforcement import Enforced, Enforcement, Partial, Unenforced
from cloche.errors import ClocheError, RegistryError, RuntimeUnavailable, SandboxError, SpecError, Unenforceable
from cloche.events.acts import Act
from cloche.level import IsolationLevel
from cloche.output import Chunk
from cloche.policy import Limits, Mount, Policy
from cloche.registry.held import PIECE, chunk_body, chunk_data, chunks_from, pieces
from cloche.registry.messages import DATA_MAX, FDS_MAX, JSON_MAX, Decoder, Message, ProtocolError, encode
from cloche.registry.plain import (
    enforcement_from,
    error_from,
    error_to_plain,
    from_json,
    from_plain,
    to_plain,
)
from cloche.rules.rule import Rule
from cloche.rules.ruleset import Rules
from cloche.rules.severity import Severity
from cloche.runtime_parts import Exit
from cloche.spec import ProcessSpec, Spec, Usage, Window

if TYPE_CHECKING:
    from collections.abc import Callable

HEAD = struct.Struct("!IIHxx")
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 62), 1 << 62) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
bodies = st.dictionaries(st.text(max_size=8), plain, max_size=5)


@given(st.lists(st.tuples(bodies, st.binary(max_size=200)), max_size=5), st.lists(st.integers(1, 400), min_size=1))
def test_messages_arrive_as_they_were_sent_however_they_are_cut(
    sent: list[tuple[dict[str, Any], bytes]], cuts: list[int]
) -> None:
    raw = b"".join(encode(body, data) for body, data in sent)
    decoder = Decoder()
    got: list[Message] = []
    turn = 0
    while raw:
        size = cuts[turn % len(cuts)]
        got += decoder.feed(raw[:size])
        raw, turn = raw[size:], turn + 1
    assert [(message.body, message.data) for message in got] == sent
    assert not decoder.partial


def test_a_signal_arrives_as_its_number_and_a_severity_by_its_name() -> None:
    ended = Exit(code=None, signal=signal.SIGKILL)
    assert from_plain(Exit, json.loads(json.dumps(to_plain(ended))), "exit") == ended
    assert (to_plain(signal.SIGKILL), to_plain(Severity.HIGH)) == (9, "high")


@given(st.lists(st.binary(max_size=64), max_size=8))
def test_any_bytes_are_messages_or_refused(parts: list[bytes]) -> None:
    decoder = Decoder()
    try:
        for part in parts:
            for message in decoder.feed(part):
                assert isinstance(message.body, dict)
    except ProtocolError:
        decoder.close()
    assert decoder._admitted == 0 or decoder.partial


@given(bodies, st.binary(max_size=60), st.data())
def test_a_message_with_a_bit_turned_is_another_or_refused(
    body: dict[str, Any], data: bytes, draw: st.DataObject
) -> None:
    raw = bytearray(encode(body, data))
    raw[draw.draw(st.integers(0, len(raw) - 1))] ^= 1 << draw.draw(st.integers(0, 7))
    decoder = Decoder()
    try:
        found = decoder.feed(bytes(raw))
    except ProtocolError:
        return
    assert len(found) <= 1


@pytest.mark.parametrize(
    "head", [(JSON_MAX + 1, 0, 0), (2, DATA_MAX + 1, 0), (2, 0, FDS_MAX + 1), (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFF)]
)
def test_what_is_too_much_is_refused_by_its_head_alone(head: tuple[int, int, int]) -> None:
    with pytest.raises(ProtocolError, match="a message of"):
        Decoder().feed(HEAD.pack(*head))


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"null", b'{"a": NaN}', b'{"a": Infinity}', b"[" * 100_000, b'{"a":' * 50_000, b'{"a": 1', b"\xff{}",
     b'{"a": ' + b"9" * 5000 + b"}"],
)  # fmt: skip
def test_what_is_no_plain_json_object_is_refused(text: bytes) -> None:
    with pytest.raises(ProtocolError):
        Decoder().feed(HEAD.pack(len(text), 0, 0) + text)
    with pytest.raises(ValueError, match=r"."):
        from_json(text, "it")


def test_a_message_that_is_too_big_is_not_sent() -> None:
    with pytest.raises(ProtocolError, match="too much for one message"):
        encode({}, bytes(DATA_MAX + 1))


def test_only_so_much_is_kept_of_unfinished_messages() -> None:
    under_way = [0]

    def admit(size: int) -> bool:
        if under_way[0] + size > 1000:
            return False
        under_way[0] += size
        return True

    one, two, three = (Decoder(admit) for _ in range(3))
    raw = encode({}, bytes(600))
    one.feed(raw[:20])
    with pytest.raises(ProtocolError, match="too much is under way"):
        two.feed(raw[:20])
    two.close()
    assert len(one.feed(raw[20:])) == 1
    assert under_way == [0]
    three.feed(raw[:20])
    three.close()
    assert under_way == [0]


@pytest.mark.usefixtures("no_own_leaks")
def test_descriptors_go_with_their_message_and_strays_are_closed() -> None:
    ends = [os.dup(0) for _ in range(4)]
    decoder = Decoder()
    first, second = decoder.feed(encode({"n": 1}, fds=2) + encode({"n": 2}, fds=1), ends)
    assert (first.fds, second.fds) == (tuple(ends[:2]), (ends[2],))
    first.close()
    second.close()
    with pytest.raises(ProtocolError, match="speaks of 2 descriptors, and 1 came"):
        decoder.feed(encode({}, fds=2))
    decoder.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(ends[3])
    crowd = [os.dup(0) for _ in range(4 * FDS_MAX + 1)]
    with pytest.raises(ProtocolError, match="no message speaks of"):
        decoder.feed(b"", crowd)
    decoder.close()


# -- values ----------------------------------------------------------------------------------------------------------


def again(kind: object, value: object) -> object:
    return from_plain(kind, json.loads(json.dumps(to_plain(value))), "it")


def test_a_request_comes_out_as_it_went_in(make_spec: Callable[..., Spec]) -> None:
    spec = make_spec(metadata={"a": "\u2603", "b": "\udc80"})
    assert again(Spec, spec) == spec
    assert again(IsolationLevel, spec.level) == spec.level
    policy = Policy(mounts=(Mount("/tmp", "/there"),), limits=Limits(memory="1G", wall=2.5), forbidden=("/etc/x",))
    assert again(Policy, policy) == policy
    own = Rule(id="own", summary="o", severity=Severity.LOW, events=frozenset({Act.EXEC}))
    rules = Rules(without=("b",), auto_block=Severity.HIGH, auto_suspend="never", audit=True, sensitive=("/k/**",))
    assert again(Rules, rules) == rules
    judged = replace(spec, rules=replace(rules, use=("*", own)))
    assert (of_another := again(Spec, judged)) == replace(judged, rules=replace(rules, use=("*", "own:own")))
    assert isinstance(of_another, Spec)
    assert of_another.rules.resolved(judged.rules) == judged.rules
    process = ProcessSpec(args=("a", "\udcff\n"), env={"A": ""}, cwd="/", window=Window(1, 2), linger=True)
    assert again(ProcessSpec, process) == process
    assert again(Exit, end := Exit(signal=9, out_of_memory=True, usage=Usage(1.5, 0.0, 7))) == end
    assert again(float, float("inf")) == float("inf")


@given(plain)
def test_any_plain_data_is_a_request_or_refused(data: object) -> None:
    for kind in (Spec, Policy, ProcessSpec, Exit, Limits, Window, Rules):
        try:
            assert isinstance(from_plain(kind, data, "it"), kind)
        except SpecError:
            continue


@pytest.mark.parametrize(
    ("kind", "data", "words"),
    [
        (Window, {"rows": 0}, "window rows"), (Window, {"rows": True}, "rows: int is needed"),
        (Window, {"lines": 3}, "unknown part 'lines'"), (ProcessSpec, {"args": ["a"]}, "missing"),
        (ProcessSpec, {"args": "a", "env": {}, "cwd": "/"}, "it.args: list is needed"),
        (ProcessSpec, {"args": ["a\0b"], "env": {}, "cwd": "/"}, "NUL"),
        (ProcessSpec, {"args": ["a"], "env": {"A": 1}, "cwd": "/"}, "env.A: text is needed"),
        (ProcessSpec, {"args": ["a"], "env": {}, "cwd": ".."}, "absolute path"),
        (Policy, {"network": {"mode": "open"}}, "is none of none, loopback, isolated, host"),
        (Policy, {"require": ["magic"]}, "magic"), (float, "nan", "a number is needed"),
        (tuple[int, ...], [0] * 70_000, "too many"), (Rules, [], "dict is needed"),
        (Rules, {"use": [{"id": "a"}]}, "text is needed"), (Policy, {"rules": {"use": 3}}, "rules.use: a sequence"),
        (Policy, {"rules": {"auto_block": 40}}, "40 is unknown; use one of info, low"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_named(kind: object, data: object, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        from_plain(kind, data, "it")


def test_no_value_of_another_kind_is_made_plain() -> None:
    with pytest.raises(SpecError, match="can't be handed to another process"):
        to_plain({"a": object()})


@pytest.mark.parametrize("name", [n for n, kind in vars(errors).items() if isinstance(kind, type)
                                  and issubclass(kind, ClocheError) and n != "GuestFailed"])  # fmt: skip
def test_an_error_comes_out_as_it_went_in(name: str) -> None:
    kind = getattr(errors, name)
    made = RuntimeUnavailable("one", "why") if kind is RuntimeUnavailable else kind("the text")
    back = error_from(json.loads(json.dumps(error_to_plain(made))))
    assert (type(back), str(back)) == (kind, str(made))


def test_what_an_error_carries_comes_along() -> None:
    back = error_from(error_to_plain(Unenforceable("no", reasons={"one": "why"})))
    assert isinstance(back, Unenforceable)
    assert back.reasons == {"one": "why"}
    assert isinstance(error_from(error_to_plain(ZeroDivisionError("x"))), SandboxError)
    assert isinstance(error_from({"kind": "SystemExit", "text": "x"}), SandboxError)
    assert isinstance(error_from({"kind": "annotations", "text": "x"}), SandboxError)
    assert isinstance(error_from({"kind": 7}), RegistryError)
    assert isinstance(error_from(None), RegistryError)


def test_a_report_comes_out_as_it_went_in() -> None:
    report = Enforcement({"a": Enforced("m"), "b": Partial("m", "c"), "d": Unenforced("r", "f")})
    assert dict(enforcement_from(json.loads(json.dumps(report.as_json())))) == dict(report)
    with pytest.raises(SpecError, match="not a verdict"):
        enforcement_from({"a": {"status": "great"}})


@given(st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(min_size=1, max_size=50)), max_size=8))
def test_output_comes_out_as_it_went_in(printed: list[tuple[Any, bytes]]) -> None:
    batch, seq = [], 0
    for stream, data in printed:
        batch.append(Chunk(seq, stream, data))
        seq += len(data)
    got = [c for piece in pieces(batch) for c in chunks_from(chunk_body(piece), chunk_data(piece))]
    assert got == batch


def test_much_output_goes_in_pieces() -> None:
    batch = [Chunk(0, "stdout", bytes(3 * PIECE + 5)), Chunk(3 * PIECE + 5, "stderr", b"x")]
    sizes = [sum(len(chunk.data) for chunk in piece) for piece in pieces(batch)]
    assert sizes == [PIECE, PIECE, PIECE, 6]


@pytest.mark.parametrize(
    "table",
    [None, {}, [[0, "stdout"]], [[0, "other", 1]], [[-1, "stdout", 1]], [[0, "stdout", 3]], [["0", "stdout", 1]]],
)
def test_output_that_does_not_fit_its_words_is_refused(table: object) -> None:
    with pytest.raises(SpecError):
        chunks_from({"chunks": table}, b"ab")
