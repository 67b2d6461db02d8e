"""Examples of rules, run: events made as records, and whether the rule matches the last of them.

An event is plain data as ``Event.as_json`` gives it, of which only ``act`` must be there. ``args`` are by name, or a
list of them; ``argv`` and ``env``, lists, are put where an act has them; ``flags`` are names such as ``denied`` or
``climbs``. ``process`` is what is known of who did it, a path or ``{exe: ..., args: [...]}``, and ``ancestors`` a list
of such, the parent first. ``at`` is the time in seconds from the first event; left out, a millisecond after the one
before.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Final

from cloche import units
from cloche.errors import SpecError
from cloche.events.acts import ARGS, TEXTS, Act, EventFlag, Source
from cloche.events.event import Event, EventBatch, Origin
from cloche.events.meaning import MEANINGS
from cloche.incidents.match import Context, ProcessFacts
from cloche.monitoring.made import HOST_ARGS, HOST_TEXTS
from cloche.rules.compile import compiled
from cloche.rules.holds import holds
from cloche.rules.rule import Example, Rule
from cloche.rules.surroundings import Surroundings
from cloche_native import events as records
from cloche_native import rules as native
from cloche_native import syscall_number

EVENTS_MAX: Final = 4096
_SECOND: Final = 1_000_000_000
_STEP: Final = 1_000_000
_BEGIN: Final = 1 << 40
"""Nanoseconds: no time is before a window's."""
_KEYS: Final = frozenset({
    "act", "source", "call", "result", "args", "argv", "env", "flags", "claimed", "at", "time", "sandbox", "process",
    "ancestors", "number", "pid", "tid", "exec", *TEXTS,
})  # fmt: skip
_FLAGS: Final = {str(flag.name).lower().replace("_", "-"): flag for flag in EventFlag}


@dataclass(frozen=True, slots=True)
class Failure:
    """An example that did not come out as it says; ``number`` is its place, from 1, ``why`` a line for people."""

    rule: str
    number: int
    why: str


@dataclass(frozen=True, slots=True)
class _Made:
    event: Event
    process: ProcessFacts | None
    ancestors: tuple[ProcessFacts, ...]


def failures(rule: Rule) -> list[Failure]:
    """Run all examples of a rule: which of them do not come out as they say, or can't be run."""
    found: list[Failure] = []
    for number, example in enumerate(rule.examples, 1):
        try:
            matched = example_matches(rule, example)
        except SpecError as error:
            found.append(Failure(rule.id, number, str(error)))
            continue
        if matched != example.match:
            said = "it must match and does not" if example.match else "it must not match and does"
            found.append(Failure(rule.id, number, f"{said}: {_shown(example)}"))
    return found


def example_matches(rule: Rule, example: Example) -> bool:
    """Say whether a rule, compiled alone, matches the last event of an example, with its function if it has one.

    Raises ``SpecError`` for an example that can't be made, and a rule that can't be compiled.
    """
    around = Surroundings().over(example.profile)
    made = _events(example)
    last = made[-1]
    counted = _judged(rule, made, around)
    if counted is None:
        return False
    context = Context(rule, last.event, around, last.process, last.ancestors, counted)
    if rule.evaluate is None:
        return True
    try:
        return bool(rule.evaluate(context))
    except Exception as error:  # noqa: BLE001 - a plugin's function may raise anything
        told = units.one_line(f"{type(error).__name__}: {error}", most=200)
        raise SpecError(f"rule {rule.id!r}: its evaluate raised {told}") from None


def _judged(rule: Rule, made: Sequence[_Made], around: Surroundings) -> int | None:
    """Judge events as a sandbox's are: what was counted when the last one matched, ``None`` if it did not."""
    # As where the host does all for the guest and refuses nothing: whether it may refuse is another question.
    found = compiled([rule], around, emulated=frozenset(Act), block="never", audit=True)
    if not found.specs:
        return None
    program = native.compile(found.specs)
    batch = b"".join(one.event.raw for one in made)
    last = made[-1]
    for hit in program.state().judge(batch):
        if hit.offset == len(batch) - len(last.event.raw):
            rests = [found.rest[program.names[number]] for number in hit.rules]
            if any(
                one.where is None or holds(one.where, last.event, around, last.process, last.ancestors) for one in rests
            ):
                return hit.evidence.counted
    return None


# -- events -------------------------------------------------------------------------------------------------------


def _events(example: Example) -> list[_Made]:
    if not 1 <= len(example.events) <= EVENTS_MAX:
        raise SpecError(f"example: 1 to {EVENTS_MAX} events are needed, not {len(example.events)}")
    made: list[_Made] = []
    time = _BEGIN
    for number, plain in enumerate(example.events, 1):
        what = f"event {number}"
        _check_keys(plain, what)
        time = _BEGIN + int(_seconds(plain["at"], what) * _SECOND) if "at" in plain else time + _STEP
        raw = _record(plain, number, time, what)
        (event,) = EventBatch(raw, Origin({1: str(plain.get("sandbox", "example"))}))
        process = None if plain.get("process") is None else _facts(plain["process"], event.pid, what)
        others = units.sequence(plain.get("ancestors", ()), f"{what}: ancestors")
        made.append(_Made(event, process, tuple(_facts(one, 1, what) for one in others)))
    return made


def _check_keys(plain: object, what: str) -> None:
    if not isinstance(plain, Mapping):
        raise SpecError(f"{what}: a mapping is needed, not {units.shown(plain)}")
    for key in plain:
        if key not in _KEYS:
            raise SpecError(f"{what}: unknown key {units.shown(key)}; known are {', '.join(sorted(_KEYS))}")


def _record(plain: Mapping[str, Any], number: int, time: int, what: str) -> bytes:
    act = _act(plain.get("act"), what)
    source = plain.get("source", "guest")
    if source not in list(Source):
        raise SpecError(f"{what}: source {units.shown(source)} is unknown")
    texts = {name: _bytes(plain[name], f"{what}: {name}") for name in TEXTS if name in plain}
    for name, text in (("argv", "target"), ("env", "target_resolved")):
        if name in plain:
            items = units.sequence(plain[name], f"{what}: {name}")
            texts[text] = b"".join(_bytes(item, f"{what}: {name}") + b"\0" for item in items)
    flags = (HOST_TEXTS | HOST_ARGS) & ~_some_flags(plain.get("claimed", ()), f"{what}: claimed", claimed=True)
    flags |= _some_flags(plain.get("flags", ()), f"{what}: flags", claimed=False)
    if plain.get("result") is not None:
        flags |= EventFlag.RESULT
    whole = partial(_number, plain, what=what)
    try:
        return records.pack(
            act=act.number, source=source, number=whole("number", number), time_ns=time, sandbox=1, flags=flags,
            pid=whole("pid", 1000), tid=whole("tid", 0), exec=whole("exec", 0), call=_call(plain.get("call"), what),
            result=plain.get("result") or 0, args=_args(act, plain.get("args", ()), what), **texts,
        )  # fmt: skip
    except (ValueError, TypeError) as error:
        raise SpecError(f"{what}: {error}") from None


def _number(plain: Mapping[str, Any], name: str, default: int, *, what: str) -> int:
    return units.count(plain.get(name, default), f"{what}: {name}", least=0, most=(1 << 31) - 1)


def _act(name: object, what: str) -> Act:
    try:
        return Act(name)  # type: ignore[arg-type]  # whatever it is, it is one or not
    except ValueError:
        raise SpecError(f"{what}: act {units.shown(name)} is unknown; `cloche events acts` names them") from None


def _call(name: object, what: str) -> int:
    if name is None:
        return -1
    try:
        number = syscall_number(name) if isinstance(name, str) else None
    except ValueError:
        number = None
    if number is None:
        raise SpecError(f"{what}: call {units.shown(name)} is no system call of this machine")
    return number


def _args(act: Act, given: object, what: str) -> tuple[int, ...]:
    if not isinstance(given, Mapping):
        return units.sequence(given, f"{what}: args")
    known = MEANINGS[act].args
    values = [0] * ARGS
    for name, value in given.items():
        if name not in known:
            raise SpecError(f"{what}: args: {act} has no {units.shown(name)}; it has {', '.join(known) or 'none'}")
        values[known.index(name)] = value
    return tuple(values)


def _some_flags(given: object, what: str, *, claimed: bool) -> int:
    names = units.sequence(given, what)
    bits = 0
    for name in names:
        if claimed and name in TEXTS:
            bits |= 1 << TEXTS.index(name)
        elif not claimed and isinstance(name, str) and name in _FLAGS:
            bits |= _FLAGS[name]
        else:
            known = TEXTS if claimed else sorted(_FLAGS)
            raise SpecError(f"{what}: {units.shown(name)} is unknown; known are {', '.join(known)}")
    return bits


def _facts(given: object, pid: int, what: str) -> ProcessFacts:
    if isinstance(given, str):
        return ProcessFacts(pid, exe=given)
    known = {f.name for f in fields(ProcessFacts)}
    if not isinstance(given, Mapping) or not set(given) <= known:
        raise SpecError(f"{what}: a process is its path, or a mapping of {', '.join(sorted(known))}")
    args = tuple(str(arg) for arg in units.sequence(given.get("args", ()), f"{what}: args"))
    return ProcessFacts(**{"pid": pid, **given, "args": args})


def _seconds(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e6:  # noqa: PLR2004 - 11 days
        raise SpecError(f"{what}: at: seconds from the first event are needed, not {units.shown(value)}")
    return float(value)


def _bytes(value: object, what: str) -> bytes:
    if isinstance(value, Mapping) and set(value) == {"base64"}:
        try:
            return base64.b64decode(value["base64"], validate=True)
        except (ValueError, TypeError):
            raise SpecError(f"{what}: {units.shown(value)} is no base64") from None
    if not isinstance(value, str):
        raise SpecError(f"{what}: text is needed, not {units.shown(value)}")
    try:
        return os.fsencode(value)
    except UnicodeEncodeError:
        raise SpecError(f"{what}: {units.shown(value)} is not valid text") from None


def _shown(example: Example) -> str:
    return units.one_line(", ".join(f"{key}={value!r}" for key, value in example.events[-1].items()), most=300)
