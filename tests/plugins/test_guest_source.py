"""The source of a watched guest's events, held to what every source must do."""

from __future__ import annotations

from cloche import Act
from cloche_bwrap.direct import NamespacesRuntime
from tests.plugins.guest_sources import GuestSourceConformance


class TestGuest(GuestSourceConformance):
    performs = (Act.MKDIR, Act.UNLINK, Act.CHROOT)
    other = Act.SYMLINK
    kind = NamespacesRuntime
