"""`weft docs CODE` explains a code; `weft completion SHELL` prints what makes the shell complete `weft`."""

from __future__ import annotations

import click

from ops.cli.codes import Fault, every, explain


@click.command()
@click.argument("code", required=False)
def docs(code: str | None) -> None:
    """Explain a code of an error, a status or an engine's answer; without one, list them all."""
    for one in [code] if code else every():
        found = explain(one)
        if found is None:
            raise Fault("unknown_code", f"no code is called {one!r}: `weft docs` lists them all")
        meaning, fix = found
        click.echo(f"{one}: {meaning} {fix}" if code is None else f"{one}\n  what:  {meaning}\n  to do: {fix}")


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a completion script: `eval "$(weft completion bash)"`."""
    from click.shell_completion import get_completion_class

    from ops.cli.app import weft

    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(weft, {}, "weft", "_WEFT_COMPLETE").source())
