"""What a process leaves behind becomes a child of this one, for a while (PR_SET_CHILD_SUBREAPER(2const))."""

from __future__ import annotations

import ctypes
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

PR_SET_CHILD_SUBREAPER: Final = 36  # linux/prctl.h
PR_GET_CHILD_SUBREAPER: Final = 37


@contextmanager
def adopting() -> Iterator[None]:
    """Inherit whoever loses its parent meanwhile; who was inherited stays a child, to be waited for."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    before = ctypes.c_int()
    assert prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(before), 0, 0, 0) == 0
    assert prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    try:
        yield
    finally:
        assert prctl(PR_SET_CHILD_SUBREAPER, before.value, 0, 0, 0) == 0
