"""``cloche exec``: a program in a sandbox that is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cloche.commands import attached, boxes, given, program

if TYPE_CHECKING:
    from cloche.blocking import Sandbox


@click.command("exec", context_settings={"allow_interspersed_args": False})
@boxes.box_argument
@click.argument("args", nargs=-1, required=True, metavar="[--] PROGRAM [ARGS]...")
@click.option(
    "-e", "--env", multiple=True, callback=given.variables, metavar="NAME[=VALUE]",
    help="Environment variable; NAME alone takes its value here.",
)  # fmt: skip
@click.option("-d", "--detach", is_flag=True, help="Leave it running as a job, and print the job's id.")
@program.options
def command(which: str, args: tuple[str, ...], *, detach: bool, **chosen: Any) -> int:  # noqa: ANN401 - declared above
    """Run PROGRAM in the sandbox BOX, as if it ran right here. It ends with this command, unless by -d.

    Its exit code is passed on, as `cloche run` does.
    """
    program.check(chosen)
    args = args[1:] if args[0] == "--" else args  # click leaves it, as it comes after BOX
    if not args:
        raise click.UsageError("no program given: cloche exec BOX -- PROGRAM")
    if detach:
        with boxes.attached(which) as box:
            job = box.spawn(*args, cwd=chosen["cwd"], timeout=chosen["timeout"], env=chosen["env"], detach=True)
            click.echo(job.id)
        return 0
    with boxes.attached(which) as box:
        return run(box, args, chosen)


def run(box: Sandbox, args: tuple[str, ...], chosen: dict[str, Any]) -> int:
    """Run a program in a sandbox with our streams, and give the exit code for its end."""
    with attached.Signals() as stop:
        try:
            env = given.environment(chosen["env"], terminal=chosen["tty"])
            code = program.tell(program.run(box, args, chosen, stop, env=env), box, chosen, stop)
        except attached.Interrupted:
            code = 0
        return 128 + stop.caught if stop.caught else code
