"""The command line itself: finds a command, runs it, and turns every failure into one line and an exit code.

Exit codes (DESIGN.md section 10): 0 yes, 1 a negative answer, 2 usage, 3 unreachable, 4 invalid, 5 conflict, 6 timeout,
7 not permitted, 70 a bug. Errors of all packages carry a permanent `code`; which exit code it means stands in `ops/cli/codes.py`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from ops.cli.commands import COMMANDS

BUG = 70


class Commands(click.Group):
    """Commands that are imported when they are called, not when they are listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.target.partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            ctx.fail(f"no command {args[0]!r}: " + (f"did you mean {near[0]!r}?" if near else "see weft --help"))
        return super().resolve_command(ctx, args)


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option("0.1.0", prog_name="weft", message="%(prog)s %(version)s")
def weft() -> None:
    """A service mesh for bare metal and VMs. Start with `weft demo`.

    Commands find the running mesh by --state, WEFT_STATE or its default place, or talk to --etcd URL.
    """


def run(arguments: Sequence[str]) -> int:
    """Run one command line; the exit code."""
    try:
        done = weft.main(args=list(arguments), prog_name="weft", standalone_mode=False)
        return done if isinstance(done, int) else 0
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return failed(error)


def failed(error: BaseException) -> int:
    """Say what went wrong in one line; the exit code it means."""
    from ops.cli.codes import exit_code

    error = _told(error)
    code = getattr(error, "code", None)
    if not isinstance(code, str):
        if isinstance(error, OSError):
            said = f"{error.filename}: {error.strerror}" if error.filename is not None else str(error)
            click.echo(f"error: {said} [os_error]", err=True)
            return 1
        import traceback

        click.echo("".join(traceback.format_exception(error)), err=True)
        click.echo(
            f"error: a bug in weft: {type(error).__name__}: {error} [bug]: please report it with the above", err=True
        )
        return BUG
    click.echo(f"error: {_line(error, code)}", err=True)
    return exit_code(code)


def _told(error: BaseException) -> BaseException:
    """The one error to speak of: of several at once a bug before all, else the first."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    several = [_told(one) for one in error.exceptions]
    return next((one for one in several if not isinstance(getattr(one, "code", None), str)), several[0])


def _line(error: BaseException, code: str) -> str:
    """What happened and its code; and what to do, where a lower layer met something that it cannot know the way out of."""
    from ops.cli.codes import Fault, exit_code, explain

    said = str(error)
    if f"[{code}]" in said or "[WEFT" in said:
        return said
    known = None if isinstance(error, Fault) or exit_code(code) not in (3, 7) else explain(code)
    return f"{said} [{code}]" + (f": {known[1][0].lower()}{known[1][1:]}" if known else "")
