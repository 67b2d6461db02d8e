"""Writes docs/behaviour-suite.md from a run of everything: corpus, honest work, ways round, classic escapes.

::

    python -m tests.behaviour.page CORPUS.json [--cache FOLDER] [--runtime gvisor] [-w docs/behaviour-suite.md]
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cloche
from tests.behaviour import atomics, benign, tried
from tests.behaviour.classic import ESCAPES, Escape
from tests.behaviour.compiled import compile_programs
from tests.behaviour.evasion import EVASIONS, Evasion
from tests.behaviour.ground import LIMIT_SECONDS, REFUSING, RUNTIMES
from tests.behaviour.work import WORK

OWN = Path(__file__).parent / "attacks.json"
HEAD = """\
# Behaviour suite

What the built-in rules find in attacks, what they find in honest work, and what becomes of ways round them, as a run
on {machine} saw it. Made by:

```
python -m tests.behaviour.page CORPUS.json -w docs/behaviour-suite.md
```

{figures}

How it is done. Each attack runs for at most {seconds} seconds in a sandbox of its own, without a network, as user 0 of
a user namespace that is an ordinary user of the host, or as user 1000 of gVisor's kernel, who owns all of it;
`/etc`, `/var`, `/root`, `/home`, `/opt`, `/srv` and `/usr/local` are copies that it may write and that are thrown away
([ground.py](../tests/behaviour/ground.py)). All rules are on, at depth `full`, level `enhanced`.

- *blocked*: something that it did was refused, by a rule or by the static filter, and that was told.
- *stopped*: where nothing can be refused, a rule of severity `high` or more ended the sandbox right after the act.
- *detected*: a rule matched, of severity `low` or more. The severity stands beside the rule: `low` by itself means
  nothing, it is for whoever looks at all of what a sandbox did.
- *missed*: nothing was told.
- *did not run*: a program that it needs is not there, and nothing was told.
"""
CORPUS = """
## The corpus

Half of the Linux shell tests of Atomic Red Team (MIT licence), which is not part of this project. *must_detect* are
those that touch credentials, keep themselves alive, raise rights, tamper, inject or hide, and did something in a plain
image; *score_only* can't be told from ordinary use; *incomplete* need a tool, a service or a network that is not there.

{rows}
"""
BY_INPUT = """
A shell that is given the script as an argument says all it will do before it does it, and rules read that. Given on
standard input, only what is done is seen. Of `must_detect` these were then missed, what a shell does by itself:

"""
STANDS = {True: "the guest stands still", False: "the guest waits as soon as 4 MiB of what it did are not heard"}
WORDS = {
    "found": "found", "refused": "refused", "killed": "killed", "no effect": "no effect", "not found": "*not found*",
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Be the program of this module."""
    parser = argparse.ArgumentParser(description="Run the behaviour suite and write its page.")
    parser.add_argument("corpus", help="the corpus of attacks, as JSON")
    parser.add_argument("--cache", type=Path, default=benign.CACHE, help="where honest work is fetched to")
    parser.add_argument("-w", "--write", type=Path, help="the page to write; else it is printed")
    parser.add_argument("--runtime", choices=RUNTIMES, action="append", help="only this one; may be given again")
    asked = parser.parse_args(arguments)
    text = page({name: measured(asked.corpus, asked.cache, name) for name in asked.runtime or RUNTIMES})
    if asked.write is None:
        sys.stdout.write(text)
    else:
        asked.write.write_text(text, encoding="utf-8")
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a run of everything gave under one runtime."""

    theirs: list[atomics.Outcome]
    by_input: list[atomics.Outcome]
    """What must be detected of the corpus, given on standard input."""
    own: list[atomics.Outcome]
    honest: list[benign.Run]
    ways: list[tuple[Evasion, tried.Tried]]
    escapes: list[tuple[Escape, tried.Tried]]


def measured(corpus: str, cache: Path, runtime: str) -> Measured:
    """Run everything."""
    ways, escapes = roundabout(runtime)
    scripts = atomics.corpus(corpus)
    musts = [one for one in scripts if one.label == "must_detect"]
    return Measured(
        theirs=atomics.attempted(scripts, runtime=runtime),
        by_input=atomics.attempted(musts, by_input=True, runtime=runtime),
        own=atomics.attempted(atomics.corpus(OWN), runtime=runtime),
        honest=honest(cache, runtime), ways=ways, escapes=escapes,
    )  # fmt: skip


def roundabout(runtime: str) -> tuple[list[tuple[Evasion, tried.Tried]], list[tuple[Escape, tried.Tried]]]:
    """Try the ways round and the classic escapes."""
    folder = Path(tempfile.mkdtemp(prefix="attacks-"))
    try:
        folder.chmod(0o755)
        compile_programs(folder)
        with cloche.Host() as host:
            ways = [(one, tried.evade(host, one, folder, runtime)) for one in EVASIONS]
            return ways, [(one, tried.escape(host, one, folder, runtime)) for one in ESCAPES]
    finally:
        shutil.rmtree(folder)


def honest(cache: Path, runtime: str) -> list[benign.Run]:
    """Do all the honest work that can be done here."""
    done = []
    with cloche.Host() as host:
        for work in WORK:
            if reason := benign.fetch(work, cache):
                sys.stderr.write(f"{work.name} is left out: {reason}\n")
            else:
                done.append(benign.done(host, work, cache, runtime))
                if not done[-1].ok:
                    sys.stderr.write(f"{work.name} failed on {runtime}: {done[-1].detail}\n")
    return done


def page(runs: Mapping[str, Measured]) -> str:
    """Give the page that tells of a run under each runtime."""
    parts = [HEAD.format(machine=_machine(), figures="\n".join(_figures(runs)), seconds=LIMIT_SECONDS)]
    parts.append(CORPUS.format(rows=_attacks(runs, lambda run: run.theirs)))
    parts.append(BY_INPUT)
    for runtime, run in runs.items():
        parts += [f"- {one.script.name} ({runtime})\n" for one in run.by_input if not one.found]
    parts.append("\n## Attacks of our own\n\nThose of `tests/behaviour/attacks.json`, which CI runs.\n\n")
    parts.append(f"{_attacks(runs, lambda run: run.own)}\n")
    parts.append("\n## Honest work\n\nGrave is `high` or more. Each in a sandbox of the profile for such work.\n\n")
    parts.append("| work | profile | runtime | acts | seconds | grave | refused | below `high` |\n")
    parts.append("|---|---|---|---|---|---|---|---|\n")
    parts += [f"{row}\n" for row in _honest(runs)]
    parts.append("\n## Ways round\n\nBy rules of the tests' own, so that it hangs on no others.\n\n")
    parts.append(f"{_table('way', 'what it tries', *_each(runs, 'end', 'by'), '')}\n")
    parts += [f"{row}\n" for row in _ways(runs)]
    parts.append("\n## Classic escapes\n\nEach without effect, at level `enhanced`. Told by:\n\n")
    parts.append(f"{_table('escape', 'what it tries', *runs)}\n")
    parts += [f"{row}\n" for row in _escapes(runs)]
    return "".join(parts)


def _figures(runs: Mapping[str, Measured]) -> Iterator[str]:
    def row(what: str, figure: Callable[[Measured], str]) -> str:
        return _row(what, *(figure(run) for run in runs.values()))

    yield _table("what", *runs)
    for label in dict.fromkeys(one.script.label for run in runs.values() for one in run.theirs):
        yield row(f"corpus, `{label}`", lambda run, label=label: _score(run.theirs, label))  # type: ignore[misc]
    yield row("the same `must_detect`, given on standard input", lambda run: _score(run.by_input, "must_detect"))
    yield row("attacks of our own", lambda run: _score(run.own, "must_detect"))
    yield row("honest work: grave incidents, refused acts", lambda run: _peace(run.honest))
    yield row("ways round", lambda run: _ends(tried.ended(*way) for way in run.ways))
    yield row("classic escapes without effect", lambda run: _without(run.escapes, told=False))
    yield row("the same, and told", lambda run: _without(run.escapes, told=True))


def _score(outcomes: Iterable[atomics.Outcome], label: str) -> str:
    some = [one for one in outcomes if one.script.label == label]
    found, all_ = atomics.score(some, label)
    return f"{found} of {all_} found ({_ends(one.outcome for one in some)})"


def _peace(work: Sequence[benign.Run]) -> str:
    grave, refused = sum(len(one.grave) for one in work), sum(len(one.refused) for one in work)
    return f"{grave}, {refused} in {len(work)} runs of {sum(one.events for one in work):,} acts"


def _without(escapes: Sequence[tuple[Escape, tried.Tried]], *, told: bool) -> str:
    some = [seen for _, seen in escapes if not seen.done and (not told or seen.rules | seen.refused)]
    return f"{len(some)} of {len(escapes)}"


def _ends(ends: Iterable[str]) -> str:
    return ", ".join(f"{count} {end}" for end, count in Counter(ends).most_common())


def _attacks(runs: Mapping[str, Measured], which: Callable[[Measured], list[atomics.Outcome]]) -> str:
    rows = [_table("attack", "technique", "label", *_each(runs, "", "by"))]
    for same in zip(*(which(run) for run in runs.values()), strict=True):
        script = same[0].script
        cells = [cell for one in same for cell in (one.outcome, _told(one))]
        rows.append(_row(_cell(script.name), script.technique, script.label, *cells))
    return "\n".join(rows)


def _told(one: atomics.Outcome) -> str:
    return f"{_rules(one.rules)}{'; ' if one.rules and one.refused else ''}{_cell(', '.join(one.refused))}"


def _honest(runs: Mapping[str, Measured]) -> Iterator[str]:
    done = [(run.work.name, runtime, run) for runtime, all_ in runs.items() for run in all_.honest]
    order = [work.name for work in WORK]
    for _, runtime, one in sorted(done, key=lambda row: order.index(row[0])):
        yield _row(
            one.work.what, one.work.profile, runtime, f"{one.events:,}", f"{one.seconds:.1f}", str(len(one.grave)),
            str(len(one.refused)), _rules(one.incidents),
        )  # fmt: skip


def _ways(runs: Mapping[str, Measured]) -> Iterator[str]:
    for same in zip(*(run.ways for run in runs.values()), strict=True):
        one = same[0][0]
        cells = [cell for way in same for cell in (WORDS[tried.ended(*way)], _cell(way[1].words()))]
        yield _row(one.id, _cell(one.tries), *cells, _cell(one.why))
    still = [cell for runtime in runs for cell in (STANDS[runtime in REFUSING], "")]
    yield _row("watcher stopped", "stop the process that watches (SIGSTOP)", *still, "")
    yield _row("watcher killed", "kill the process that watches", *["the guest ends", ""] * len(runs), "")


def _escapes(runs: Mapping[str, Measured]) -> Iterator[str]:
    for same in zip(*(run.escapes for run in runs.values()), strict=True):
        one = same[0][0]
        cells = [_cell(seen.words()) if not seen.done else "**not stopped**" for _, seen in same]
        yield _row(one.id, _cell(one.tries), *cells)


def _each(runs: Iterable[str], *columns: str) -> list[str]:
    """Give the heads of the columns that each runtime has."""
    return [f"{runtime}{f': {name}' if name else ''}" for runtime in runs for name in columns]


def _table(*heads: str) -> str:
    return f"{_row(*heads)}\n|{'---|' * len(heads)}"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _rules(rules: Mapping[str, str]) -> str:
    return ", ".join(f"{rule} ({severity})" for rule, severity in rules.items())


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def _machine() -> str:
    name = os.uname()
    return f"Linux {name.release.split('-')[0]} ({name.machine}), as {'root' if os.geteuid() == 0 else 'a user'}"


if __name__ == "__main__":
    sys.exit(main())
