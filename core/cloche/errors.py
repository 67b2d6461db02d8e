"""Every error cloche raises, in one tree.

::

    ClocheError
    ├── SpecError (ValueError)      what was asked is malformed or contradicts itself
    ├── Unenforceable               what was asked is clear but can't be kept here
    ├── PluginError                 a plugin broke its contract
    ├── RuntimeUnavailable          a runtime can't work on this machine
    ├── SandboxError                something about one sandbox
    │   ├── StateError              the verb doesn't fit the sandbox's state
    │   ├── Unsupported             this runtime has no such verb
    │   ├── StartError              the sandbox or a program in it could not be started
    │   ├── NotFound                no such sandbox, job or path
    │   └── LimitExceeded           a limit ended it
    └── GuestFailed                 raised only by ``Result.check()``

A guest that fails is data (a ``Result``), never an exception. Each message says what was asked, what is so, and
what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloche.spec import Result


class ClocheError(Exception):
    """Base of all errors of cloche."""


class SpecError(ClocheError, ValueError):
    """The request is malformed or contradicts itself; nothing was run."""


class Unenforceable(ClocheError):
    """The request is well formed but can't be enforced here; nothing was run.

    ``reasons`` maps each runtime that was asked to why it can't, with the way out.
    """

    def __init__(self, message: str, *, reasons: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.reasons = dict(reasons or {})


class PluginError(ClocheError):
    """A plugin broke its contract."""


class RuntimeUnavailable(ClocheError):
    """The runtime named ``runtime`` can't work on this machine; ``reason`` says why and what to do."""

    def __init__(self, runtime: str, reason: str) -> None:
        super().__init__(f"runtime {runtime!r} is not available: {reason}")
        self.runtime = runtime
        self.reason = reason


class SandboxError(ClocheError):
    """Something about one sandbox."""


class StateError(SandboxError):
    """The verb doesn't fit the sandbox's present state."""


class Unsupported(SandboxError):
    """This runtime has no such verb."""


class StartError(SandboxError):
    """The sandbox, or a program in it, could not be started; nothing of the guest ran."""


class NotFound(SandboxError):
    """No sandbox, job or path of that name."""


class LimitExceeded(SandboxError):
    """A limit ended the operation."""


class GuestFailed(ClocheError):
    """Raised by ``Result.check()`` when the guest did not end with exit code 0; ``result`` holds all of it."""

    def __init__(self, result: Result) -> None:
        super().__init__(result.explain())
        self.result = result
