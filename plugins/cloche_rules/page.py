"""The page docs/built-in-rules.md, made from the rules: ``python -m cloche_rules.page > docs/built-in-rules.md``."""

from __future__ import annotations

import sys
from typing import Final

from cloche import Rule, Severity
from cloche_rules.every import RULES, THEMES
from cloche_rules.lists import PATTERNS_MAX
from cloche_rules.words import TAGS

_HEAD: Final = """\
# Built-in rules

What `rules="on"` judges by, unless `without` leaves some out: {count} rules of the plugin `rules`. This page is made
from them by `python -m cloche_rules.page`; a test compares. How a rule is written is in [rules.md](rules.md).

| severity | rules | means here |
|---|---:|---|
{severities}

*inline*: an act that matches is refused where its severity reaches the policy's `auto_block`. *inline by name*: the
same, though it rests on a path or an address that the guest could change meanwhile
([decision 39](decisions/0039-refusing-by-what-is-claimed.md)); at depth `strict` it can't. All others tell. Rules with
the tag `reads` need every opening of a file to be watched, at two to three times the cost of an open:
`Rules(without=("tag:reads",))` leaves them out, and all others work at depth `writes`.

What rules rest on is what guests do: which paths they change, which calls they make, how they start programs. A command
is found by its own words, so one that says the same in other words, or does it within a program, is not; what it then
does to files, processes or the kernel is found all the same. `${{home}}` and its like stand for the sandbox's folders.

| tag | about |
|---|---|
{tags}

## Lists of known bad things

The plugin `lists` makes rules of files that `cloche.toml` names; nothing is fetched.

```toml
[plugins.lists]
addresses = ["/etc/cloche/bad-addresses.txt"]  # an IPv4 or IPv6 address or network a line
domains = ["/etc/cloche/bad-domains.txt"]
hashes = ["/etc/cloche/bad-programs.txt"]      # a SHA-256 a line, in hex; also as sha256sum(1) prints it
stix = ["/etc/cloche/bundle.json"]             # indicators of STIX 2.1 of these, by = or IN, joined by OR
bad_lines = "refuse"                           # or "skip"
```

| rule | severity | finds |
|---|---|---|
| `listed-address` | high, inline by name | a connection to one of the addresses, or to an IPv4 network |
| `listed-network` | high | the same, of IPv6 networks and of what is more than {patterns} patterns |
| `listed-domain` | medium | a program that is given one of the domains, or one below it, as an argument |
| `listed-program` | high | a program whose file has one of the hashes |

A line that can't be read, or an indicator that says more, is named with its number, and the plugin is refused with
that, unless they are to be skipped: `cloche plugins` shows it. What a guest asks name servers is not seen. A
program's file is read from the host's side, right after it was started: a guest that changes or removes it within that
moment is not found by its hash, nor is a script that is given to its interpreter, nor what has over 256 MiB, nor the
system's own programs on the runtime `process`.
"""


def page() -> str:
    """Give the whole page."""
    counts = {severity: sum(rule.severity is severity for rule in RULES) for severity in reversed(Severity)}
    severities = "\n".join(f"| {severity} | {count} | {_MEANS[severity]} |" for severity, count in counts.items())
    tags = "\n".join(f"| `{tag}` | {what} |" for tag, what in TAGS.items())
    parts = [_HEAD.format(count=len(RULES), severities=severities, tags=tags, patterns=PATTERNS_MAX)]
    for theme, rules in THEMES.items():
        rows = "\n".join(_row(rule) for rule in rules)
        parts.append(f"\n## {theme}\n\n| rule | severity | finds | ATT&CK | tags |\n|---|---|---|---|---|\n{rows}\n")
    return "".join(parts)


_MEANS: Final = {
    Severity.INFO: "worth knowing; ordinary programs do it",
    Severity.LOW: "unusual; by itself it means nothing",
    Severity.MEDIUM: "attacks do it, and a few honest programs",
    Severity.HIGH: "honest work in a sandbox does not do it",
    Severity.CRITICAL: "an attempt to get out, or at what every program of a machine trusts",
}


def _row(rule: Rule) -> str:
    how = {True: ", inline by name" if rule.best_effort else ", inline", False: ""}[rule.mode == "inline"]
    attack = " ".join(
        f"[{number}](https://attack.mitre.org/techniques/{number.replace('.', '/')}/)" for number in rule.attack
    )
    tags = " ".join(sorted(rule.tags))
    return f"| `{rule.id}` | {rule.severity}{how} | {rule.summary.replace('|', chr(92) + '|')} | {attack} | {tags} |"


if __name__ == "__main__":
    sys.stdout.write(page())
