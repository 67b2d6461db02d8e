"""JavaScript, TypeScript and Python of runtime wasm are held to what every language is."""

from __future__ import annotations

from typing import ClassVar

import pytest

from cloche import Runtime
from cloche.testing import JAVASCRIPT, PYTHON, LanguageConformance, LanguagePrograms
from cloche_wasm.runtime import WasmRuntime


class TestJavaScript(LanguageConformance):
    runtime: ClassVar[type[Runtime]] = WasmRuntime
    language: ClassVar[str] = "javascript"
    programs: ClassVar[LanguagePrograms] = JAVASCRIPT


class TestTypeScript(LanguageConformance):
    runtime: ClassVar[type[Runtime]] = WasmRuntime
    language: ClassVar[str] = "typescript"
    programs: ClassVar[LanguagePrograms] = JAVASCRIPT


@pytest.mark.timeout(900)  # the first one builds CPython
class TestPython(LanguageConformance):
    runtime: ClassVar[type[Runtime]] = WasmRuntime
    language: ClassVar[str] = "python"
    programs: ClassVar[LanguagePrograms] = PYTHON

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _builds(cls) -> None:
        pytest.importorskip("componentize_py")
