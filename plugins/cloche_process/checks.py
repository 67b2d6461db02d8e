"""What this kernel's Landlock adds to a plain process."""

from __future__ import annotations

import os

import cloche_native as native
from cloche import Check

TCP_SINCE = 4  # ABI with rules for TCP ports, Linux 6.7 (landlock(7))
SCOPES_SINCE = 6  # ABI with scopes of signals and abstract sockets, Linux 6.12


def foundations() -> list[Check]:
    """Give the rows from the paths, without which there is nothing, to the finer rules."""
    abi = native.landlock_abi()
    if abi == 0:
        return [
            Check("file rules", native.landlock_reason(), ok=False, fix="Linux 5.13 with landlock in its lsm= list")
        ]
    rows = [Check("file rules", f"Landlock ABI {abi}", ok=True)]
    if abi >= SCOPES_SINCE:
        rows.append(Check("signals to others", "refused by Landlock", ok=True))
    elif os.geteuid() == 0:
        rows.append(Check("signals to others", "refused: every sandbox has a host user of its own", ok=True))
    else:
        found = "a sandbox could signal your other processes"
        rows.append(Check("signals to others", found, ok=False, fix="Linux 6.12 or later"))
    if abi >= TCP_SINCE:
        rows.append(Check("TCP ports", "refused by Landlock beside the system-call filter", ok=True))
    else:
        found = "refused by the system-call filter alone"
        rows.append(Check("TCP ports", found, ok=None, fix="Linux 6.7 adds Landlock's rules"))
    return rows
