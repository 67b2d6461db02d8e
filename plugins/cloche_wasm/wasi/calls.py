"""The functions of WASI preview 1 by name, as a program calls them: numbers in, an error number out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from cloche import ClocheError
from cloche_wasm.wasi.errors import Errno, Refused, number_of
from cloche_wasm.wasi.paths import PathCalls
from cloche_wasm.wasi.telling import deed

MODULE: Final = "wasi_snapshot_preview1"
SIGNATURES: Final[Mapping[str, str]] = {
    "args_get": "ii", "args_sizes_get": "ii", "clock_res_get": "ii", "clock_time_get": "iIi", "environ_get": "ii",
    "environ_sizes_get": "ii", "fd_advise": "iIIi", "fd_allocate": "iII", "fd_close": "i", "fd_datasync": "i",
    "fd_fdstat_get": "ii", "fd_fdstat_set_flags": "ii", "fd_fdstat_set_rights": "iII", "fd_filestat_get": "ii",
    "fd_filestat_set_size": "iI", "fd_filestat_set_times": "iIIi", "fd_pread": "iiiIi", "fd_prestat_dir_name": "iii",
    "fd_prestat_get": "ii", "fd_pwrite": "iiiIi", "fd_read": "iiii", "fd_readdir": "iiiIi", "fd_renumber": "ii",
    "fd_seek": "iIii", "fd_sync": "i", "fd_tell": "ii", "fd_write": "iiii", "path_create_directory": "iii",
    "path_filestat_get": "iiiii", "path_filestat_set_times": "iiiiIIi", "path_link": "iiiiiii",
    "path_open": "iiiiiIIii", "path_readlink": "iiiiii", "path_remove_directory": "iii", "path_rename": "iiiiii",
    "path_symlink": "iiiii", "path_unlink_file": "iii", "poll_oneoff": "iiii", "proc_exit": "i", "proc_raise": "i",
    "random_get": "ii", "sched_yield": "", "sock_accept": "iii", "sock_recv": "iiiiii", "sock_send": "iiiii",
    "sock_shutdown": "ii",
}  # fmt: skip
"""What each takes: ``i`` for 32 bits, ``I`` for 64. Each gives an error number; ``proc_exit`` gives nothing."""
_LIMITS: Final = {Errno.MFILE: "open_files", Errno.FBIG: "file_size"}
_BITS: Final = {"i": (1 << 32) - 1, "I": (1 << 64) - 1}


class Wasi(PathCalls):
    """All of them, for one program. ``answer`` is what the machine calls."""

    def answer(self, name: str) -> Callable[..., int]:
        """Give the function of that name: it takes numbers, signed or not. Only ``Exited`` ever leaves it."""
        masks = [_BITS[kind] for kind in SIGNATURES[name]]
        call: Callable[..., None] = getattr(self, name, self._unknown)
        teller = self.teller

        def answered(*given: int) -> int:
            numbers = [value & mask for value, mask in zip(given, masks, strict=True)]
            if teller is None or (told := deed(name, numbers)) is None:
                return done(numbers)
            try:
                return teller.call(told, lambda: done(numbers))
            except Refused as refused:  # it waited for its events to be taken, and was ended meanwhile
                return refused.number

        def done(numbers: Sequence[int]) -> Errno:
            try:
                call(*numbers)
            except Refused as refused:
                if (limit := _LIMITS.get(refused.number)) is not None:
                    self.refused[limit] += 1
                return refused.number
            except IndexError:
                return Errno.FAULT
            except (OSError, ClocheError) as error:
                return number_of(error)
            return Errno.SUCCESS

        return answered

    def _unknown(self, *_: int) -> None:
        raise Refused(Errno.NOSYS)
