from __future__ import annotations

from cloche.testing import RuntimeConformance
from cloche_bwrap.direct import NamespacesRuntime


class TestNamespaces(RuntimeConformance):
    runtime = NamespacesRuntime
