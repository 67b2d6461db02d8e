"""What the bridge to wasmtime gives and raises; its answers to what guests import; see ``cloche_native.wasm``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol

from cloche_native import _lib

if TYPE_CHECKING:
    from cloche_native.wasm_instance import Instance

_ffi, _c = _lib.ffi, _lib.lib

End = Literal[
    "done", "pending", "raised", "stopped", "stack", "memory", "size", "exited", "trap", "guest", "dead",
]  # fmt: skip
"""How a crossing ended. ``pending``: no text yet, and no job left. ``raised``: the entry itself raised. ``size``: a
text too large to cross. After all others the instance is dead: ended hard, out of stack or memory, by itself, by a
trap, or it pointed outside of its memory; ``dead``: it was before."""
ENDS: Final[tuple[End, ...]] = (
    "done", "pending", "raised", "stopped", "stack", "memory", "size", "exited", "trap", "guest", "dead",
)  # fmt: skip
Kind = Literal["call", "normalize", "load"]
Calls = Callable[[Kind, bytes, tuple[bytes | None, ...]], bytes | None]
"""Answers what a guest asks: a global function made by ``Instance.function`` with its arguments, of which those that
are no strings are ``None``; a module's name (base, specifier); its source (name). ``None``: undefined, or refused."""

_KINDS: Final[tuple[Kind, ...]] = ("call", "normalize", "load")
_PYTHON: Final = 1000


class StartError(RuntimeError):
    """An instance could not be made; the text is wasmtime's."""


class DeltaError(ValueError):
    """A delta that is damaged, of another template, or that reaches outside of its memory."""


class Trap(RuntimeError):
    """A call did not return: ``end`` says how, ``code`` is the exit code of ``exited``."""

    def __init__(self, end: End, detail: str, code: int = 0) -> None:
        """Keep what is known."""
        super().__init__(f"{end}: {detail}" if detail else end)
        self.end, self.detail, self.code = end, detail, code


class Outcome(NamedTuple):
    """How a crossing went. ``text`` is the guest's, and so may be ``detail``: hostile."""

    end: End
    text: bytes | None
    ok: bool
    """Whether the code itself raised nothing; if not, ``text`` is of what it raised."""
    interrupted: bool
    """Whether the guest was told to stop, and may go on another time."""
    memory: int
    """Bytes of its memory at the end."""
    calls: int
    """How often it asked the host."""
    detail: str
    raised: BaseException | None
    """What ``calls`` raised, the first one."""
    number: int = 0
    """The handle that was minted; the exit code of ``exited``."""


class Entries(NamedTuple):
    """Handles of functions and values that are minted in a template, and so are in each instance; 0: none.

    ``encode(value, ok)`` gives the text of a value or of what was raised, ``poll()`` that of a run that was pending,
    and ``prepare(text)`` is called before the code. The last three spare each run the making of what they name.
    """

    encode: int = 0
    poll: int = 0
    prepare: int = 0
    undefined: int = 0
    yes: int = 0
    no: int = 0


class Pointed(Protocol):
    """An object of wasmtime-py, which knows where its C twin is."""

    def ptr(self) -> Any:  # noqa: ANN401 - a pointer of ctypes
        """Give the pointer."""


class Imported(Protocol):
    """One import of a module, as wasmtime-py describes it."""

    @property
    def module(self) -> str: ...  # noqa: D102 - what it says
    @property
    def name(self) -> str | None: ...  # noqa: D102
    @property
    def type(self) -> Any: ...  # noqa: ANN401, D102 - one of many types


class Function(NamedTuple):
    """A function of Python that a guest imports, and whether each parameter has 32 bits."""

    call: Callable[..., int | None]
    narrow: tuple[bool, ...]


def signature(kind: Any) -> str:  # noqa: ANN401 - a type of wasmtime-py, of which only functions will do
    """Give the type of a function in letters, ``i`` for 32 bits and ``I`` for 64. Raises ValueError for any other."""
    letters = {"i32": "i", "i64": "I"}
    try:
        params, results = ("".join(letters[str(one)] for one in side) for side in (kind.params, kind.results))
    except (AttributeError, KeyError):
        raise ValueError("an import is a function of integers here, and this one is not") from None
    if len(params) > _c.CLO_WASM_NUMBERS or len(results) > 1:
        raise ValueError(f"a function has at most {_c.CLO_WASM_NUMBERS} parameters and one result here")
    return f"{params}:{results}"


def define(
    library: Any,  # noqa: ANN401 - cffi has no types
    linker: int,
    imports: Iterable[Imported],
    functions: Mapping[tuple[str, str], Callable[..., int | None]],
    address: Callable[[Pointed], int],
) -> tuple[Function, ...]:
    """Define each import in a linker; see ``cloche_native.wasm.answer``."""
    made: list[Function] = []
    done: set[tuple[str, str]] = set()
    for one in imports:
        key = (one.module, one.name or "")
        if key in done:
            continue
        done.add(key)
        try:
            letters = signature(one.type)
        except ValueError as error:
            raise ValueError(f"{key[0]}.{key[1]}: {error}") from None
        function = functions.get(key)
        if function is not None:
            answer = _PYTHON + len(made)
            made.append(Function(function, tuple(letter == "i" for letter in letters.partition(":")[0])))
        else:
            answer = _c.clo_wasm_answer(*(text.encode() for text in (*key, letters)))
        if answer == -1:
            raise ValueError(f"the module imports {key[0]}.{key[1]}, which nobody answers")
        if answer < 0:
            raise ValueError(f"the module imports {key[0]}.{key[1]} as a function {letters}, which it is not")
        if _c.clo_wasm_define(library, *_pointers(linker, key, address(one.type)), answer):
            raise ValueError(f"{key[0]}.{key[1]} is defined in this linker already")
    return tuple(made)


def _pointers(linker: int, key: tuple[str, str], kind: int) -> tuple[Any, bytes, bytes, Any]:
    return _ffi.cast("void *", linker), key[0].encode(), key[1].encode(), _ffi.cast("void *", kind)


class Asked:
    """Who answers in one crossing. Nothing it raises gets through C: it is kept, and raised afterwards."""

    __slots__ = ("calls", "ended", "instance", "raised")

    def __init__(self) -> None:
        """Answer nothing yet."""
        self.calls: Calls | None = None
        self.instance: Instance | None = None
        self.raised: BaseException | None = None
        self.ended: BaseException | None = None

    @property
    def functions(self) -> Sequence[Function]:
        """Those of Python that the instance imports."""
        return () if self.instance is None else self.instance.mold.functions

    def answer(self, asked: Any) -> int:  # noqa: ANN401 - cffi has no types
        """Answer one question, as struct clo_wasm_asked has it."""
        kind = asked.kind
        if kind == _c.CLO_WASM_ASK_TICK:
            return 0
        if kind == _c.CLO_WASM_ASK_NUMBERS:
            function = self.functions[asked.id]
            numbers = _ffi.unpack(asked.numbers, asked.count) if asked.count else ()
            result = function.call(
                self.instance,
                *(
                    number & 0xFFFFFFFF if narrow else number
                    for number, narrow in zip(numbers, function.narrow, strict=True)
                ),
            )
            if result is None:
                return 0
            asked.result = result if result < 1 << 63 else result - (1 << 64)
            return 1
        if self.calls is None:
            return -1
        texts = tuple(_ffi.buffer(one.text, one.size)[:] if one.text else None for one in asked.texts[0 : asked.count])
        name = _ffi.buffer(asked.name.text, asked.name.size)[:] if asked.name.text else b""
        text = self.calls(_KINDS[kind], name, texts)
        if text is None:
            return 0
        if len(text) > asked.room_size:
            _c.clo_wasm_room(asked, max(len(text), 4096))
            if len(text) > asked.room_size:
                raise MemoryError("no memory for an answer to a guest")
        _ffi.memmove(asked.room, text, len(text))
        asked.answer_size = len(text)
        return 1


def _failed(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> int:  # noqa: ARG001
    """Keep what a callback raised; only an Exception in answer to a text lets the guest go on."""
    if traceback is None:
        return -2
    here = traceback.tb_frame.f_locals
    who: Asked = _ffi.from_handle(here["python"])
    if isinstance(error, Exception) and here["asked"].kind not in {_c.CLO_WASM_ASK_NUMBERS, _c.CLO_WASM_ASK_TICK}:
        who.raised = who.raised or error
        return -1
    who.ended = who.ended or error
    return -2


@_ffi.def_extern(name="clo_wasm_ask", error=-2, onerror=_failed)
def _ask(asked: Any, python: Any) -> int:  # noqa: ANN401 - cffi has no types
    who: Asked = _ffi.from_handle(python)
    return who.answer(asked)
