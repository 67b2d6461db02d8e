"""All rules, by theme."""

from __future__ import annotations

from typing import Final

from cloche_rules import credentials, escape, execution, files, kernel, network, resources, rights, startup, traces

THEMES: Final = {
    "Paths and files": files.RULES,
    "Rights and accounts": rights.RULES,
    "Ways out": escape.RULES,
    "Kernel and other processes": kernel.RULES,
    "What would run later": startup.RULES,
    "Secrets": credentials.RULES,
    "Logs, histories, defences": traces.RULES,
    "Starting programs": execution.RULES,
    "Network and neighbours": network.RULES,
    "Resources and looking around": resources.RULES,
}
RULES: Final = tuple(rule for rules in THEMES.values() for rule in rules)
