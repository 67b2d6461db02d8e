"""Texts of modules for the guest's Python: those that the embedder gives, and files of one folder of the host."""

from __future__ import annotations

from cloche_wasm.modules import ModuleTexts


class Sources(ModuleTexts):
    """Finds what ``modules`` allows: a name, and what is inside of it."""

    def allows(self, name: str) -> bool:
        """Say whether ``name`` may be imported: it, or a package that it is in, is allowed."""
        parts = name.split(".")
        return any(self._modules.allows(".".join(parts[:count])) for count in range(1, len(parts) + 1))

    def find(self, name: str) -> tuple[str, bool] | None:
        """Give a module's text and whether it is a package; ``None`` if it has none, or what is there is no text."""
        inner = any(known.startswith(f"{name}.") for known in self._modules.sources)
        if (given := self._modules.sources.get(name)) is not None:
            return given, inner
        if inner:
            return "", True
        parts = name.split(".")
        if not all(part.isidentifier() for part in parts):
            return None
        path = "/".join(parts).encode()
        for ending, package in ((b".py", False), (b"/__init__.py", True)):
            if (text := self.read(path + ending)) is not None:
                return text, package
        return None
