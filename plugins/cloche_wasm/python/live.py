"""One interpreter of Python, as the host has it: runs, what they come to, and what is left where one was ended hard."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from cloche import ConsoleLine, Ran, Running, RunUsage, SpecError, StartError, Stream
from cloche_native import wasm
from cloche_wasm.engine import ADDRESSED
from cloche_wasm.living import STOP_GRACE, Living, walls
from cloche_wasm.python.calls import Serving
from cloche_wasm.python.door import Door, unfit
from cloche_wasm.python.outcome import Told, heard, meant
from cloche_wasm.python.stream import PythonStream
from cloche_wasm.python.values import Crossing, pack

if TYPE_CHECKING:
    from cloche_wasm.python.language import PythonLanguage

_ANSWERS: Final = 5.0
_encode = json.JSONEncoder(check_circular=False).encode


class PythonInterpreter(Living["PythonLanguage"]):
    """One CPython. With ``keeps`` the state before each run is kept, to go back to."""

    def __init__(
        self, language: PythonLanguage, instance: wasm.Instance, *, keeps: bool = True, restored: bool = False
    ) -> None:
        """Take the instance over."""
        super().__init__(language, instance, keeps=keeps)
        self._spec = language.spec
        self._restored = restored
        self._prepared = False
        self._door: Door | None = None

    def run(self, code: str, variables: Mapping[str, object] | None, running: Running) -> Ran:
        """Run ``code``."""
        begun = time.monotonic()
        if (refused := self.refused(code)) is not None:
            return refused
        door = self.door(running)
        given = {"do": "run", "code": code, **self.packed(variables)}
        told = self.asked(given, door, running.wall, keep=self._keeps)
        return self.ran(told, door, time.monotonic() - begun)

    def stream(self, code: str, variables: Mapping[str, object] | None, running: Running) -> Stream:
        """Start a program that yields."""
        refused = self.refused(code)
        given = {"do": "start", "code": code, **self.packed(variables)}
        return PythonStream(self, given, running, refused)

    def interrupt(self, why: str) -> None:
        """End the run that goes on."""
        with self._lock:
            if self._door is not None and self._instance is not None:
                self._door.stop(why)
                self._instance.stop(STOP_GRACE)

    def answers(self) -> bool:
        """Say whether there is an interpreter that answers: what was restored may hold anything."""
        told = self.asked({"do": "answer"}, self.door(Running(_ANSWERS)), _ANSWERS, prepare=False)
        return told.end == "done"

    # -- for runs and streams --------------------------------------------------------------------------------------

    def door(self, running: Running) -> Door:
        """Give who answers in one run."""
        return Door(self._spec, self._language.sources, running)

    def asked(
        self, given: dict[str, Any], door: Door, seconds: float, *, keep: bool = False, prepare: bool = True
    ) -> Told:
        """Have the guest do something. Where it does not survive that, one in the state before takes its place."""
        instance, prepared = self._live(), self._prepared
        if prepare and not prepared:
            given["prepare"] = self._preparing(door.running)
            self._prepared = True
        text = self._worded(given, door)
        wall, grace = walls(seconds)
        door.until = time.monotonic() + seconds - grace
        with self._lock:
            self._door, door.end = door, instance.stop
        try:
            with Serving(door):
                out = instance.tell(text, wall=wall, grace=grace, keep=keep)
        except IndexError as error:
            raise StartError(f"the guest pointed outside of its memory: {error}") from error
        except RuntimeError as error:
            raise StartError(f"no code can be run here: {error}") from error
        finally:
            with self._lock:
                self._door = None
        if door.raised is not None:
            raise door.raised
        told = heard(out, door.why)
        if not instance.alive or told.foreign:
            told.rolled_back = self._roll_back(instance)
            self._prepared = prepared
        return told

    def ran(self, told: Told, door: Door, seconds: float, lines: list[ConsoleLine] | None = None) -> Ran:
        """Tell what the guest's answer means."""
        reason, value, error, detail = meant(told, door.why)
        console = () if self._spec.console == "off" else tuple(told.lines if lines is None else lines)
        usage = RunUsage(seconds, told.memory, door.calls)
        return Ran(
            cast("Any", reason), value, error, console, usage, told.rolled_back, door.violations(), detail
        )  # fmt: skip

    def refused(self, code: str) -> Ran | None:
        """Give how code ends that is not even tried."""
        text = self._language.text(code)
        return text if isinstance(text, Ran) else None

    def packed(self, variables: Mapping[str, object] | None) -> dict[str, str]:
        """Give variables as the guest is told them. Raises ``SpecError``."""
        if not variables:
            return {}
        try:
            text = self._language.crossing(variables, lambda given: pack(given, unfit))
        except Crossing as error:
            raise SpecError(f"variables: {error}") from None
        return {"variables": text}

    def _preparing(self, running: Running) -> dict[str, Any]:
        calls = running.calls
        functions = [[name, calls is not None and calls.is_async(name) is True] for name in self._spec.functions]
        random = None if self._restored and not self._spec.random else self._spec.random
        return {"functions": functions, "preload": list(self._spec.modules.preload), "random": random}

    def _worded(self, given: dict[str, Any], door: Door) -> bytes:
        room = self._spec.limits.output
        given["room"] = ADDRESSED if room is None else max(room - door.printed, 0)
        given["value"] = self._spec.bounds.value
        if door.running.on_console is not None and self._spec.console != "off":
            given["live"] = True
        return _encode(given).encode()
