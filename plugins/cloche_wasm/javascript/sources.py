"""Texts of JavaScript's modules: those that the embedder gives, and files of one folder of the host."""

from __future__ import annotations

from typing import Final

from cloche import SpecError
from cloche_wasm.modules import ModuleTexts

_ENDINGS: Final = ("", ".js", ".cjs", ".mjs", "/index.js")


class Sources(ModuleTexts):
    """Finds what ``modules`` allows."""

    def allows(self, name: str) -> bool:
        """Say whether ``name`` may be imported."""
        return self._modules.allows(name)

    def find(self, name: str) -> str | None:
        """Give the text of a module that is allowed; ``None`` if it has none, or what is there is no text."""
        given = self._modules.sources.get(name)
        if given is not None:
            return given
        return self._in_folder(name)

    def preloaded(self) -> tuple[tuple[str, ...], dict[str, str]]:
        """Give the names of what is to be there from the start, and texts: theirs and those that they may need.

        Raises ``SpecError`` for a name that is not allowed, or has no text.
        """
        names = self._modules.preload
        given = self._modules.sources.items() if names else ()
        texts = {name: text for name, text in given if self._modules.allows(name)}
        for name in names:
            if not self._modules.allows(name):
                raise SpecError(f"modules: {name!r} is preloaded, but not allowed; add it to allow=")
            text = self.find(name)
            if text is None:
                raise SpecError(f"modules: {name!r} is preloaded, but has no text; give it in sources= or in folder=")
            texts[name] = text
        return names, texts

    def _in_folder(self, name: str) -> str | None:
        parts = name.split("/")
        if "\0" in name or any(part in {"", ".", ".."} for part in parts):
            return None
        texts = (self.read((name + ending).encode(errors="replace")) for ending in _ENDINGS)
        return next((text for text in texts if text is not None), None)
