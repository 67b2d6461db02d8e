"""The part of a sandbox that runs code of a language without a process, beside its programs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Unpack

import anyio

from cloche.errors import Unsupported
from cloche.interpreters.opening import refuse_within
from cloche.interpreters.values import Speaking
from cloche.spec import State

if TYPE_CHECKING:
    from cloche.host import AsyncHost
    from cloche.interpreters.asynchronous import AsyncInterpreter
    from cloche.interpreters.sessions import AsyncSession
    from cloche.programs import Programs
    from cloche.spec import Spec


class AsyncBoxed(ABC):
    """The sessions of a sandbox."""

    id: str
    spec: Spec
    runtime: str
    state: State
    _host: AsyncHost
    _programs: Programs
    _spoken: tuple[AsyncInterpreter, ...] = ()

    async def session(
        self,
        language: str,
        *,
        ttl: float | str | None = None,
        restore: bytes | None = None,
        **options: Unpack[Speaking],
    ) -> AsyncSession:
        """Open a session of a language in this sandbox's runtime: state that stays from run to run; it ends with it.

        Level, limits and strictness are the sandbox's, each session has them for itself; the other options are as in
        ``host.interpreter``. ``restore`` is what ``session.snapshot`` gave, to go on from there. Nothing runs while the
        sandbox is paused. Raises ``StateError``, ``SpecError``, ``SnapshotError``, ``Unenforceable``, ``StartError``,
        and ``Unsupported`` where the runtime runs no such language.
        """
        from cloche.interpreters.hosting import interpreter_spec  # noqa: PLC0415 - few sandboxes have one

        self._need("open a session in", State.RUNNING)
        host = self._host
        if not any(box is self for box in host.sandboxes()):
            raise Unsupported(f"sandbox {self.id} belongs to another host, and only that one can open sessions in it")
        spec = interpreter_spec(language, self.spec, **options)
        runtime = host.runtimes.get(self.runtime)  # that of a file system without processes is none of a plugin
        if runtime is None or spec.language not in runtime.languages:
            raise Unsupported(f"sandboxes of {self.runtime!r} run no code of {spec.language!r}; see host.interpreter")
        interpreter = await host.interpret_in(self.runtime, spec, self.id)
        self._spoken = (*(one for one in self._spoken if not one.closed), interpreter)
        try:
            session = await interpreter.session_in(self._in_use, ttl=ttl, restore=restore)
            # It may have been stopped meanwhile, and then knows nothing of this one.
            self._need("open a session in", State.RUNNING)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await interpreter.close()
            raise
        return session

    def check_outside(self, what: str) -> None:
        """Raise ``StateError`` in a function that code of one of its sessions called: ``what`` would wait for it."""
        refuse_within(self._spoken, what)

    # -- inside -----------------------------------------------------------------------------------------------------

    def _in_use(self) -> None:
        """Note that a session is used; raise ``StateError`` where nothing may run."""
        self._need("run code in", State.RUNNING)
        self._programs.touch()

    async def _close_sessions(self) -> None:
        for interpreter in self._spoken:
            await interpreter.close()

    @abstractmethod
    def _need(self, verb: str, *states: State) -> None: ...
