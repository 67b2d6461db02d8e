"""What the C code of paths must equal, stated a second time in plain Python: component by component."""

from __future__ import annotations


def normalise(base: bytes, path: bytes) -> tuple[bytes, bool]:
    """Give the absolute path in its normal form, and whether ``..`` went above the root."""
    climbs = False
    parts: list[bytes] = []
    for part in (path if path.startswith(b"/") else base + b"/" + path).split(b"/"):
        if part == b".." and not parts:
            climbs = True
        elif part == b"..":
            parts.pop()
        elif part not in {b"", b"."}:
            parts.append(part)
    return b"/" + b"/".join(parts), climbs


# ---- Patterns ----

Unit = frozenset[int] | str
"""What one unit of a component's pattern takes: a byte of these, or "*"."""
SLASH = ord("/")
ANY_BYTE = frozenset(range(256)) - {SLASH}


def matches(pattern: bytes, path: bytes) -> bool:
    """Say whether a path matches a pattern: component by component, by trying every way there is."""
    if not path.startswith(b"/"):
        return False
    wanted = pattern.removeprefix(b"/").split(b"/")
    return _match_parts([None if part == b"**" else units(part) for part in wanted], path[1:].split(b"/"))


def units(part: bytes) -> list[Unit]:
    """Read the pattern of one component. Raises ValueError for what is none."""
    found: list[Unit] = []
    at = 0
    while at < len(part):
        byte = part[at : at + 1]
        at += 1
        if byte == b"*":
            found.append("*")
        elif byte == b"?":
            found.append(ANY_BYTE)
        elif byte == b"[":
            taken, at = _class(part, at)
            found.append(taken)
        elif byte == b"\\":
            found.append(frozenset([part[at]]))
            at += 1
        else:
            found.append(frozenset(byte))
    return found


def _class(part: bytes, at: int) -> tuple[frozenset[int], int]:
    others = part[at] == ord("!")
    at += others
    taken: set[int] = set()
    while part[at] != ord("]"):
        at += part[at] == ord("\\")
        first = last = part[at]
        at += 1
        if part[at] == ord("-") and part[at + 1] != ord("]"):
            at += 1
            at += part[at] == ord("\\")
            last = part[at]
            at += 1
        taken |= set(range(first, last + 1))
    return (ANY_BYTE - taken if others else ANY_BYTE & taken), at + 1


def _match_parts(wanted: list[list[Unit] | None], parts: list[bytes]) -> bool:
    """Match components; ``reached``: how many of ``parts`` may be used up by the wanted ones so far."""
    if wanted == [[]]:
        return parts == [b""]  # the root
    reached = {0}
    for one in wanted:
        if one is None:
            reached = set(range(min(reached), len(parts) + 1))
        else:
            reached = {at + 1 for at in reached if at < len(parts) and match_part(one, parts[at])}
        if not reached:
            return False
    return len(parts) in reached


def match_part(wanted: list[Unit], name: bytes) -> bool:
    """Match one component, which is never empty."""
    if not name:
        return False
    reached = {0}
    for one in wanted:
        if isinstance(one, str):
            reached = set(range(min(reached), len(name) + 1))
        else:
            reached = {at + 1 for at in reached if at < len(name) and name[at] in one}
        if not reached:
            return False
    return len(name) in reached


def to_regex(pattern: bytes) -> bytes:
    """Give the regular expression, to be matched wholly and with "." for any byte, that says the same as a pattern.

    Only for patterns without an escape, and paths without an empty component.
    """
    if pattern == b"/":
        return b"/"
    out = b""
    for part in pattern.removeprefix(b"/").split(b"/"):
        if part == b"**":
            out += b"(?:/[^/]*)*"
        elif part == b"*":
            out += b"/[^/]+"
        else:
            out += b"/" + b"".join(b"[^/]*" if unit == "*" else _set_regex(unit) for unit in units(part))
    return out


def _set_regex(unit: Unit) -> bytes:
    return b"[" + b"".join(b"\\x%02x" % byte for byte in sorted(unit) if isinstance(byte, int)) + b"]"
