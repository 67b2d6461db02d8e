"""Rules' own functions, called where they can hold nothing up: in a thread that is given up when one hangs.

One that raises, hangs, or took longer than its budget three times is not called again: from then on it counts as
agreeing, for an attack must not get by because a rule is broken.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import anyio
import anyio.from_thread
import anyio.lowlevel

from cloche import units

if TYPE_CHECKING:
    from cloche.incidents.match import Context
    from cloche.rules.rule import Rule

BUDGET: Final = 0.0002
"""Seconds of processor time that one call may take."""
WAITS: Final = 0.05
"""Seconds that it may take by the clock, others' work included; what takes longer waits for something."""
STRIKES: Final = 3
HANGS: Final = 0.5
"""Seconds after which a call is given up."""
Key = tuple[str, int]


@dataclass(slots=True)
class _Work:
    """Contexts for one thread, the answers so far, and what is called when all are there."""

    contexts: Sequence[Context]
    done: Callable[[], None]
    answers: list[bool] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    trouble: Exception | None = None


class Evaluator:
    """Calls the functions of rules, for all sandboxes of a host."""

    def __init__(self, *, budget: float = BUDGET, hangs: float = HANGS) -> None:
        self._budget = budget
        self._hangs = hangs
        self._off: set[Key] = set()
        self._strikes: Counter[Key] = Counter()
        self._held: dict[Key, object] = {}  # so that no other function gets the id of one that is counted here
        self._turn = anyio.Lock()
        self._queue: queue.SimpleQueue[_Work | None] | None = None

    async def agreed(self, contexts: Sequence[Context]) -> tuple[list[bool], list[tuple[Rule, str]]]:
        """Give whether each rule's function agrees to its context; and which were switched off, and why."""
        answers: list[bool] = []
        failed: list[tuple[Rule, str]] = []
        async with self._turn:
            while len(answers) < len(contexts):
                left = contexts[len(answers) :]
                if _key(left[0].rule) in self._off:
                    answers.append(True)
                    continue
                work = await self._called(left)
                answers += work.answers
                failed += self._judged(left, work)
        return answers, failed

    def close(self) -> None:
        """Let the thread end. Harmless when repeated."""
        if self._queue is not None:
            self._queue.put(None)
            self._queue = None

    # -- inside -----------------------------------------------------------------------------------------------------

    async def _called(self, contexts: Sequence[Context]) -> _Work:
        """Have them called until one fails or is known not to be called; wait no longer than a call may hang."""
        some = []
        for context in contexts:
            if _key(context.rule) in self._off:
                break
            some.append(context)
        token, bell = anyio.lowlevel.current_token(), anyio.Event()

        def done() -> None:
            with contextlib.suppress(RuntimeError, anyio.RunFinishedError):  # nobody waits any more
                anyio.from_thread.run_sync(bell.set, token=token)

        work = _Work(some, done)
        if self._queue is None:
            self._queue = queue.SimpleQueue()
            threading.Thread(target=_run, args=(self._queue,), name="cloche rules", daemon=True).start()
        self._queue.put(work)
        so_far = -1
        while so_far < len(work.answers) and not bell.is_set():  # each call may take so long, not all together
            so_far = len(work.answers)
            with anyio.move_on_after(self._hangs):
                await bell.wait()
        if not bell.is_set():
            self.close()  # the thread ends when the call does, if ever
            work = _Work(some, done, work.answers[:so_far], work.times[:so_far], TimeoutError())
        return work

    def _judged(self, contexts: Sequence[Context], work: _Work) -> list[tuple[Rule, str]]:
        failed: list[tuple[Rule, str]] = []
        for context, took in zip(contexts, work.times, strict=False):
            key = _key(context.rule)
            if took > self._budget:
                self._held[key] = context.rule.evaluate
                self._strikes[key] += 1
                if self._strikes[key] == STRIKES:
                    failed.append(self._switch_off(context.rule, f"took {took * 1e6:.0f} us, {STRIKES} times too long"))
        if work.trouble is not None:
            rule = contexts[len(work.answers)].rule
            failed.append(self._switch_off(rule, _shown(work.trouble, self._hangs)))
        return failed

    def _switch_off(self, rule: Rule, why: str) -> tuple[Rule, str]:
        self._off.add(_key(rule))
        self._held[_key(rule)] = rule.evaluate
        return rule, why


def _key(rule: Rule) -> Key:
    return rule.id, id(rule.evaluate)


def _shown(trouble: Exception, hangs: float) -> str:
    if isinstance(trouble, TimeoutError) and not trouble.args:
        return f"did not come back within {hangs:g} s"
    return f"raised {type(trouble).__name__}: {units.one_line(str(trouble), most=200)}"


def _run(works: queue.SimpleQueue[_Work | None]) -> None:
    while (work := works.get()) is not None:
        try:
            for context in work.contexts:
                evaluate = context.rule.evaluate
                worked, began = time.thread_time(), time.monotonic()
                answer = evaluate is None or bool(evaluate(context))
                waited = time.monotonic() - began
                work.times.append(waited if waited > WAITS else time.thread_time() - worked)
                work.answers.append(answer)
        except Exception as error:  # noqa: BLE001 - a stranger's function; told, and not called again
            work.trouble = error
        except BaseException as error:  # noqa: BLE001 - sys.exit in it must not end the thread unheard
            work.trouble = RuntimeError(f"{type(error).__name__}: {error}")
        work.done()
