"""The fake language keeps the contract that every language is held to."""

from __future__ import annotations

from cloche.testing import FAKE, FakeLanguageRuntime, LanguageConformance


class TestFakeLanguage(LanguageConformance):
    runtime = FakeLanguageRuntime
    language = "fake"
    programs = FAKE
