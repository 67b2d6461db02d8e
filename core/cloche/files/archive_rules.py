"""What a name or a link in an archive may say."""

from __future__ import annotations

import re
from typing import Final, Literal

from cloche.errors import ArchiveError, LimitExceeded
from cloche.files.archive_stream import ArchiveLimits
from cloche.files.tree import printable

Links = Literal["inside", "any", "refuse"]
Names = Literal["plain", "any"]

STAGE: Final = ".cloche-import-"
"""How the folder aside is called; some more characters follow."""
_COMPONENT_MOST: Final = 255
_PATH_MOST: Final = 4095
_TARGET_MOST: Final = 4095
_DRIVE: Final = re.compile(r"[A-Za-z]:")


class Rules:
    """What a name or a link in an archive may say."""

    def __init__(self, path: str, limits: ArchiveLimits, links: Links, names: Names) -> None:
        self._room = _PATH_MOST - len(path.encode("utf-8", "surrogateescape")) - len(STAGE) - 32
        self._depth = limits.depth
        self._links = links
        self._names = names

    def name(self, raw: bytes) -> tuple[str, ...]:
        """Give the parts of a member's name; none for the folder that all is in. Raises ``ArchiveError``."""
        text = self._text(raw, raw)
        while text.startswith("./"):
            text = text[2:]
        text = text.removesuffix("/")
        if text in {"", "."} and raw.strip(b"./") == b"" and raw.startswith(b"."):
            return ()
        parts = tuple(text.split("/"))
        if text.startswith("/") or any(part in {"", ".", ".."} for part in parts):
            raise ArchiveError(
                f"archive: {said(raw)} is no plain name inside: it is absolute, or has '.', '..' or '//'"
            )
        if len(raw) > self._room or any(
            len(part.encode("utf-8", "surrogateescape")) > _COMPONENT_MOST for part in parts
        ):
            raise ArchiveError(f"archive: {said(raw)} is too long: {_COMPONENT_MOST} bytes a part, {self._room} in all")
        if len(parts) > self._depth:
            raise LimitExceeded(f"archive: {said(raw)} is deeper than limits.depth ({self._depth})")
        if self._names == "plain" and ("\\" in text or _DRIVE.match(text)):
            raise ArchiveError(
                f"archive: {said(raw)} has a backslash or a drive letter: another place on other systems; "
                'names="any" takes it as it is'
            )
        return parts

    def link(self, parts: tuple[str, ...], raw: bytes) -> str:
        """Give the text of a symbolic link made at ``parts``, if it may be."""
        where, text = said("/".join(parts)), self._text(raw, "/".join(parts))
        if self._links == "refuse":
            raise ArchiveError(f"archive: {where} is a symbolic link, and links are refused")
        if not text or len(raw) > _TARGET_MOST:
            raise ArchiveError(f"archive: the link {where} has a text of {len(raw)} bytes; 1 to {_TARGET_MOST} can be")
        if self._links == "inside":
            steps = text.split("/")
            ups = next((n for n, step in enumerate(steps) if step != ".."), len(steps))
            if text.startswith("/") or ups >= len(parts) or ".." in steps[ups:]:
                raise ArchiveError(
                    f"archive: the link {where} -> {said(raw)} leads outside, or may: it is absolute, or has too many "
                    '"..", or one behind another name; links="any" takes it as it is'
                )
        return text

    def _text(self, raw: bytes, where: bytes | str) -> str:
        if b"\0" in raw:
            raise ArchiveError(f"archive: {said(where)} holds a NUL byte")
        try:
            return raw.decode("utf-8", "surrogateescape" if self._names == "any" else "strict")
        except UnicodeDecodeError:
            raise ArchiveError(f'archive: {said(where)} is not UTF-8; names="any" takes it as it is') from None


def said(name: bytes | str) -> str:
    """Give a name out of an archive as a message can show it."""
    text = name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name
    return printable(text if len(text) <= 200 else text[:200] + "...")  # noqa: PLR2004 - as much as a message can hold
