"""Incidents that no rule finds: that something could not be judged. Nothing of it passes silently."""

from __future__ import annotations

import secrets
import time
from typing import Final

from cloche.events.acts import Act
from cloche.events.event import printable
from cloche.incidents.incident import Incident
from cloche.rules.rule import Rule
from cloche.rules.severity import Severity


def _own(name: str, summary: str, hint: str) -> Rule:
    return Rule(
        id=name, summary=summary, hint=hint, severity=Severity.MEDIUM, events=frozenset({Act.LOST}),
        tags=frozenset({"watching"}),
    )  # fmt: skip


MONITOR_LOST: Final = _own(
    "monitor-lost", "an act matched a rule, and its record or the rule's name was lost",
    "give the monitor a larger ring, or overload='wait'",
)  # fmt: skip
LOST: Final = _own(
    "lost", "records of acts were lost; those that rules count were counted before",
    "give the monitor a larger ring, or overload='wait'",
)  # fmt: skip
EVICTED: Final = _own(
    "counters-evicted", "more was to be counted at once than there is room for; what has none counts as a match",
    "somebody may try to have counters forgotten",
)  # fmt: skip
RULE_FAILED: Final = _own(
    "rule-failed", "a rule's own function failed; it is not called any more, and counts as agreeing",
    "mend the plugin that brings the rule",
)  # fmt: skip
AUDIT_FAILED: Final = _own(
    "audit-failed", "something could not be written to the audit log, or was lost before it came there",
    "look at the disk and the folder of the log; `cloche audit verify` says what is there",
)  # fmt: skip
OWN: Final = {rule.id: rule for rule in (MONITOR_LOST, LOST, EVICTED, RULE_FAILED, AUDIT_FAILED)}


def audit_failed(why: str) -> Incident:
    """Give the incident of a host whose audit log misses something."""
    return Incident(
        id=secrets.token_hex(8), sandbox="", sandbox_name=None, rule=AUDIT_FAILED.id, rule_version=AUDIT_FAILED.version,
        severity=Severity.HIGH, time=time.time(), message=printable(f"{AUDIT_FAILED.summary}: {why}", 1000),
        hint=AUDIT_FAILED.hint,
    )  # fmt: skip
