"""Run in a process of its own: loads what is installed, uses a host, prints what became of it as JSON."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import cloche
from cloche.testing import FakeRuntime


class Fake:
    """Gives the runtime that the sandbox of this test is made by."""

    @cloche.hookimpl
    def cloche_runtimes(self) -> list[cloche.Runtime]:
        """Give it."""
        return [FakeRuntime()]


def main(register: str) -> None:
    """Print the records before and after a sandbox was used, and what there is."""
    config = {"plugins": {"good": {"register": register}}}
    with cloche.Host(config=config, plugins=[Fake()]) as host:
        before = [asdict(record) for record in host.plugins.records]
        result = host.run("echo", "hi", runtime="fake", name="first").check()
        again = host.run("echo", "ho", runtime="fake", name="second", isolation="classroom").check()
        bell = cloche.Monitor("full", sources=frozenset({"bell"}))
        silent = host.create(runtime="fake", name="third", monitor=bell, start=False)
        with silent as box, box.events(sources=["bell"]) as events:
            box.start()
            rung = [event.target for event in events.drain()]
        commands = sorted(host.plugins.commands)
        rules, responses = sorted(host.plugins.rules), sorted(host.plugins.responses)
        answer = {
            "before": before,
            "after": [asdict(record) for record in host.plugins.records],
            "output": [result.text, again.text],
            "runtimes": {name: type(runtime).__module__ for name, runtime in host.runtimes.items()},
            "levels": {name: level.summary for name, level in host.levels.items()},
            "commands": commands,
            "rules": rules,
            "responses": responses,
            "rung": rung,
        }
    json.dump(answer, sys.stdout)


main(*sys.argv[1:])
