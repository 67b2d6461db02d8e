"""Regular expressions that are searched in linear time, whatever the pattern and the text are."""

from __future__ import annotations

import importlib
from functools import lru_cache
from typing import Any

from cloche import units
from cloche.errors import SpecError


@lru_cache(maxsize=1024)
def expression(pattern: str, what: str) -> Any:  # noqa: ANN401 - the library has no types
    """Give the compiled pattern, whose ``search`` takes bytes or text. Raises ``SpecError``.

    It is RE2's (Python's own takes exponential time for some patterns), which ``pip install 'cloche[rules]'`` brings.
    """
    try:
        re2 = importlib.import_module("re2")
    except ImportError:
        raise SpecError(
            f"{what}: regular expressions need the package google-re2: pip install 'cloche[rules]'; "
            "or use contains, startswith, endswith or glob"
        ) from None
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        raise SpecError(f"{what}: {units.shown(pattern)} is no regular expression: {error}") from None
