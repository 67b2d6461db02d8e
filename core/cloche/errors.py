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
    │   ├── AccessDenied            the policy, or the file system, does not allow that act on that path
    │   ├── FileError               a file operation failed: wrong kind of file, exists, full, busy
    │   │   └── ArchiveError        an archive is damaged, hostile or of a kind that is not read
    │   ├── RegistryError           the run folder, or the host behind it, can't be used
    │   ├── SnapshotError           a saved sandbox can't be used here, or one can't be saved
    │   └── LimitExceeded           a limit ended it
    ├── AuditError                  the audit log can't be written or read
    ├── JsonError (ValueError)      what should be JSON is not, or is more than was allowed
    ├── PatchError                  a patch can't be applied to this document; nothing was changed
    ├── PointerError (LookupError)  a JSON Pointer leads nowhere in this document
    ├── HostError                   raise it in a function that guests call: they see its text
    └── GuestFailed                 raised only by ``check()`` of a result, and at the end of a stream that failed

A guest that fails is data (a ``Result``), never an exception. Each message says what was asked, what is so, and
what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloche.interpreters.values import Ran
    from cloche.spec import Result, Violation


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


class AccessDenied(SandboxError):
    """The policy, or the file system, does not allow that act on that path.

    ``violation`` says more where a rule refused it; else it is ``None``.
    """

    violation: Violation | None = None


class FileError(SandboxError):
    """A file operation failed although the path is there and may be used: wrong kind, exists, full, busy."""


class ArchiveError(FileError):
    """An archive is damaged, hostile, or holds what is not taken from archives; nothing of it was put in place."""


class RegistryError(SandboxError):
    """The run folder, in which hosts find each other, or the other host that was asked, can't be used."""


class SnapshotError(SandboxError):
    """A saved sandbox, or the store that holds it, can't be used here, or a sandbox can't be saved as it is now."""


class LimitExceeded(SandboxError):
    """A limit ended the operation."""


class AuditError(ClocheError):
    """The audit log, or its folder, can't be written or read."""


class JsonError(ClocheError, ValueError):
    """What should be JSON is not, has a key twice, or is nested deeper or is larger than was allowed.

    ``position`` is where in the text, in bytes, and None of a Python value: there the message names the place.
    """

    def __init__(self, message: str, *, position: int | None = None) -> None:
        super().__init__(message)
        self.position = position


class PatchError(ClocheError):
    """A patch is malformed or can't be applied to this document; nothing was changed.

    ``index`` is that of the operation, from 0 on, or None where it is the patch as a whole; ``pointer`` is the place
    that it named, as it was written.
    """

    def __init__(self, message: str, *, index: int | None = None, pointer: str | None = None) -> None:
        super().__init__(message)
        self.index = index
        self.pointer = pointer


class PointerError(ClocheError, LookupError):
    """The JSON Pointer ``pointer`` leads nowhere in this document."""

    def __init__(self, message: str, *, pointer: str = "") -> None:
        super().__init__(message)
        self.pointer = pointer


class HostError(ClocheError):
    """To be raised in a function of the host that guests may call: its text is for them to see.

    Of any other exception a guest learns only that the function failed.
    """


class GuestFailed(ClocheError):
    """Raised by ``check()`` of a ``Result`` or a ``Ran`` that is not ``ok``; ``result`` holds all of it.

    And by a stream whose program ends so: a loop would take a part for the whole.
    """

    def __init__(self, result: Result | Ran) -> None:
        super().__init__(result.explain())
        self.result = result
