"""``cloche profiles``: whole policies by name, what they allow, and how open that leaves this machine."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from cloche.commands import new_host
from cloche.commands.policy_rows import policy_rows
from cloche.commands.tables import Table, format_option, one_line, plain_text, report, show_json
from cloche.errors import ClocheError
from cloche.registry.plain import to_plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloche.blocking import Host
    from cloche.commands.outlook import Outlook
    from cloche.exposure import Score
    from cloche.profile import Profile
    from cloche.spec import Spec


SHOWN: Final = 0.005
"""Points from which on a row says what to do: below, two decimals show nothing."""


@click.group("profiles", invoke_without_command=True)
@format_option
@click.pass_context
def command(context: click.Context, *, as_json: bool) -> None:
    """Show the profiles: whole policies by name.

    The score says how open a sandbox of each is on this machine: 0.0 sealed, 10.0 open. Own profiles are files
    NAME.toml in ~/.config/cloche/profiles or /etc/cloche/profiles; run --profile takes a name or a file.
    """
    if context.invoked_subcommand is not None:
        return
    host = new_host()
    good, bad = _checked(host)
    views = _outlooks(host, {name: spec for name, (_, spec) in good.items()})
    if as_json:
        show_json([
            *(_brief(profile, *views[name]) for name, (profile, _) in good.items()),
            *({"name": name, "error": str(error)} for name, error in bad.items()),
        ])  # fmt: skip
        return
    table = Table(("profile", "isolation", "score", "what for"), fixed=3)
    for name, (profile, _) in good.items():
        table.add(name, profile.policy.isolation, _score_text(views[name][1]), profile.summary)
    for name, error in bad.items():
        table.add(name, "no", "", str(error))
    table.show()
    if good:
        click.echo("`cloche profiles show NAME` tells all of one and the reasons for its score.")


@command.command("show")
@click.argument("name")
@format_option
def show(*, name: str, as_json: bool) -> None:
    """Show all that the profile NAME (or a file ./NAME.toml) allows.

    Then what of it this machine keeps, and what its score is made of.
    """
    host = new_host()
    profile = host.profiles.choose(name)
    spec = _spec(host, profile)
    view, score = _outlooks(host, {profile.name: spec})[profile.name]
    if as_json:
        show_json(_whole(profile, view, score))
        return
    table = Table(("profile", profile.name))
    for key, value in (("for", profile.summary), ("from", profile.source or "the caller"), *policy_rows(spec)):
        table.add(key, one_line(value))
    for variable, value in profile.env.items():
        table.add("variable", one_line(f"{variable}={value}"))
    table.show()
    if view.chosen is None or score is None:
        refused = Table(("runtime", "why it can't keep this profile"))
        for runtime, why in view.refused.items():
            refused.add(runtime, why)
        refused.show()
        return
    report(view.reports[view.chosen], f"what runtime {view.chosen} keeps of it here").show()
    reasons = Table(("feature", "adds", "of", "what is so, and what to do"), _title(score), fixed=3)
    for row in score.rows:
        text = row.found
        if row.points >= SHOWN:
            text += f"\nexposes {row.exposes}" + (f"\n-> {row.improve}" if row.improve else "")
        reasons.add(row.feature, f"{row.points:.2f}", f"{row.weight / 10:.2f}", text)
    reasons.show()


@command.command("check")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@format_option
def check(*, files: Sequence[str], as_json: bool) -> int:
    """Check profiles in files: each key, each value, and that its isolation level is one there is.

    The exit code is 0 if all are good, else 1.
    """
    from cloche.profile import Profile  # noqa: PLC0415 - `cloche profiles check --help` needs none of it

    host = new_host()
    out: list[dict[str, str | None]] = []
    for file in files:
        try:
            profile = Profile.read(Path(file))
            _spec(host, profile)
            out.append({"file": file, "name": profile.name, "error": None})
        except ClocheError as error:
            out.append({"file": file, "name": None, "error": str(error)})
    if as_json:
        show_json(out)
    else:
        for one in out:
            click.echo(plain_text(one["error"] or f"{one['file']}: the profile {one['name']} is good"))
    return 1 if any(one["error"] for one in out) else 0


# -- inside -------------------------------------------------------------------------------------------------------


def _spec(host: Host, profile: Profile) -> Spec:
    from cloche.request import make_spec  # noqa: PLC0415 - `cloche profiles --help` needs none of it

    return make_spec(
        profile.policy, host.levels, name=None, rootfs=None, env=profile.env, hostname="cloche", user=1000,
        lifetime=profile.lifetime, idle_timeout=profile.idle_timeout, metadata=None, strict=True,
    )  # fmt: skip


def _checked(host: Host) -> tuple[dict[str, tuple[Profile, Spec]], dict[str, ClocheError]]:
    """Give the good profiles by name with what they come to, and what is wrong with the others."""
    good: dict[str, tuple[Profile, Spec]] = {}
    bad: dict[str, ClocheError] = {}
    for name in host.profiles:
        try:
            profile = host.profiles[name]
            good[name] = profile, _spec(host, profile)
        except ClocheError as error:
            bad[name] = error
    return good, bad


def _outlooks(host: Host, specs: Mapping[str, Spec]) -> dict[str, tuple[Outlook, Score | None]]:
    from cloche.commands.outlook import views  # noqa: PLC0415 - `cloche profiles --help` needs none of it
    from cloche.exposure import score  # noqa: PLC0415 - the same

    _, seen = views(host.plugins, list(specs.values()))
    return {
        name: (view, None if view.chosen is None else score(spec, view.reports[view.chosen]))
        for (name, spec), view in zip(specs.items(), seen, strict=True)
    }


def _score_text(score: Score | None) -> str:
    return "refused" if score is None else f"{score.number:.2f} {score.word}"


def _title(score: Score) -> str:
    return f"score {_score_text(score)}: 0.0 is sealed, 10.0 is open"


def _brief(profile: Profile, view: Outlook, score: Score | None) -> dict[str, Any]:
    return {
        "name": profile.name,
        "summary": profile.summary,
        "source": profile.source,
        "isolation": profile.policy.isolation,
        "runtime": view.chosen,
        "refused": view.refused if view.chosen is None else {},
        "score": None if score is None else score.number,
        "word": None if score is None else score.word,
        "error": None,
    }


def _whole(profile: Profile, view: Outlook, score: Score | None) -> dict[str, Any]:
    policy = asdict(profile.policy)
    policy["require"] = sorted(policy["require"])
    policy["monitor"] = profile.policy.monitor.as_plain()
    policy["rules"] = to_plain(profile.policy.rules)
    for plain, mount in zip(policy["mounts"], profile.policy.mounts, strict=True):
        plain["operations"] = sorted(mount.allows)
    return {
        **_brief(profile, view, score),
        "policy": policy,
        "env": dict(profile.env),
        "lifetime": profile.lifetime,
        "idle_timeout": profile.idle_timeout,
        "enforcement": view.reports[view.chosen].as_json() if view.chosen else {},
        "reasons": [{**asdict(row), "points": row.points} for row in score.rows] if score else [],
    }
