"""Honest work stays undisturbed: nothing grave is found in it, and no rule refuses any of it.

``CLOCHE_BENIGN=all`` does all of it, also what must be fetched from registries and takes minutes.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import cloche
from tests.behaviour import benign
from tests.behaviour.work import SCRIPTS, WORK, Work

CHOSEN = [work for work in WORK if work.quick or os.environ.get("CLOCHE_BENIGN") == "all"]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("work", CHOSEN, ids=lambda work: work.name)
def test_nothing_is_found_in(
    host: cloche.Host, work: Work, runtime: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cache = Path(os.environ.get("CLOCHE_BENIGN_CACHE") or tmp_path_factory.getbasetemp() / "benign")
    cache.mkdir(parents=True, exist_ok=True)
    if reason := benign.fetch(work, cache):
        pytest.skip(reason)
    run = benign.done(host, work, cache, runtime)
    assert run.ok, run.detail
    assert run.grave == ()
    assert run.refused == ()


def test_there_are_twenty_pieces_of_work_at_least_each_with_its_script() -> None:
    assert len(WORK) >= 20
    assert len({work.name for work in WORK}) == len(WORK)
    assert {work.script or work.name for work in WORK} == {path.stem for path in SCRIPTS.iterdir()}
