"""Texts that a guest, or whoever made a file, has a say in."""

from __future__ import annotations


def one_line(text: str, *, most: int = 500) -> str:
    """Give at most ``most`` characters of ``text`` for one line: what could steer a terminal is an escape."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text[:most])
    return shown if len(text) <= most else f"{shown}..."
