"""Waiting for what a sandbox does by itself, with a bound."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloche import Incident, Sandbox


def settled(box: Sandbox, name: str, *taken: str) -> Incident:
    """Wait until these things were done, or not, about the incident of a rule."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        for incident in box.incidents():
            if incident.rule == name and {one.response for one in incident.taken} >= set(taken):
                return incident
        time.sleep(0.005)
    raise AssertionError(f"{taken} were not done: {box.incidents()}")
