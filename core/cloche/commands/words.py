"""Values as people read them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from cloche.enforcement import Enforced, Guarantee, Kept, Partial, Unenforced

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cloche.rules.severity import Threshold

_SIZES: Final = (("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10))
ANSWERS: Final = {"auto_block": "refuse", "auto_suspend": "suspend", "auto_terminate": "terminate"}
"""What rules do by themselves, by the name of its threshold."""
_MINUTE: Final = 60
_HOUR: Final = 3600


def size(value: int | None) -> str:
    """Give bytes as they could be typed: ``512M``, ``1.5G``; ``-`` for no bound."""
    if value is None:
        return "-"
    for letter, factor in _SIZES:
        if value >= factor:
            return f"{value / factor:.1f}".removesuffix(".0") + letter
    return f"{value} bytes"


def seconds(value: float | None) -> str:
    """Give a duration as it could be typed: ``15m``, ``60s``, ``250ms``; ``-`` for no bound."""
    if value is None or math.isinf(value):
        return "-"
    if value < 1:
        return f"{number(value * 1000)}ms"
    for letter, factor in (("h", _HOUR), ("m", _MINUTE)):
        if value > factor and value % factor == 0:
            return f"{number(value / factor)}{letter}"
    return f"{number(value)}s"


def age(value: float) -> str:
    """Give how long ago something was, in its largest unit: ``5s``, ``12m``, ``3h``, ``4d``."""
    for letter, factor in (("d", 24 * _HOUR), ("h", _HOUR), ("m", _MINUTE)):
        if value >= factor:
            return f"{int(value // factor)}{letter}"
    return f"{max(0, int(value))}s"


def threshold(value: Threshold) -> str:
    """Give from which severity on something is done."""
    return value if isinstance(value, str) else f"from {value} on"


def number(value: float | None) -> str:
    """Give a plain number with at most three decimals, ``-`` for no bound."""
    return "-" if value is None else f"{value:.3f}".rstrip("0").rstrip(".")


def features(names: Iterable[str]) -> list[str]:
    """Give names of guarantees and limits in the order of their declaration, the others after them."""
    order: dict[str, int] = {name: index for index, name in enumerate(Guarantee)}
    return sorted(names, key=lambda name: (order.get(name, len(order)), name))


def kept(verdict: Kept) -> tuple[str, str]:
    """Give one word, and one sentence on how or why not."""
    match verdict:
        case Enforced(mechanism):
            return "yes", mechanism
        case Partial(mechanism, caveat):
            return "partly", f"{mechanism}; but {caveat}"
        case Unenforced():
            return "no", str(verdict)
