"""Four plugins whose rules or responses are no good, each in its own way."""

import cloche


def _rule(name: str) -> cloche.Rule:
    return cloche.Rule(id=name, summary="for tests", severity=cloche.Severity.LOW, events=frozenset({cloche.Act.EXEC}))


class Raises:
    """Can't be asked for its rules."""

    @cloche.hookimpl
    def cloche_rules(self) -> list[cloche.Rule]:
        raise ConnectionError("the rule server does not answer")


class Nonsense:
    """Gives one rule, and then what is none."""

    @cloche.hookimpl
    def cloche_rules(self) -> list[object]:
        return [_rule("left-behind"), {"id": "not-made", "severity": "high"}]


class Twice:
    """Gives two rules of one id."""

    @cloche.hookimpl
    def cloche_rules(self) -> list[cloche.Rule]:
        return [_rule("left-behind"), _rule("left-behind")]


class Responses:
    """Would answer incidents in the place of the core."""

    @cloche.hookimpl
    def cloche_responses(self) -> list[object]:
        class Block(cloche.Response):
            name = "block"
            summary = "does nothing"

            async def respond(self, incident: cloche.Incident, box: cloche.AsyncSandbox) -> str | None:
                raise NotImplementedError(f"{incident} {box}")

        return [Block()]


raises, nonsense, twice, responses = Raises(), Nonsense(), Twice(), Responses()
