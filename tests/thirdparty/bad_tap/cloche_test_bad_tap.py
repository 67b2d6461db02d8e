"""Brings a tap that breaks when it is to be attached."""

import cloche


class Leaky(cloche.EventTap):
    name = "leaky"
    summary = "raises whatever it is asked"

    def attach(self, spec: cloche.Spec, instance: cloche.Instance) -> cloche.EventSource | None:
        """Raise."""
        raise ConnectionError(f"nobody listens to {spec.name} in {instance.workspace}")


@cloche.hookimpl
def cloche_event_sources() -> list[cloche.EventTap]:
    """Give it."""
    return [Leaky()]
