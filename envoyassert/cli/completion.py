"""`envoyassert completion`: what makes a shell complete commands, options and files."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that makes a shell complete.

    It completes commands, options, their values, and files, in bash 4.4 or newer, zsh and fish.
    The script asks the program itself at each completion, so it is never out of date.

    Example: source <(envoyassert completion bash)

    Example: envoyassert completion zsh > ~/.zfunc/_envoyassert

    Example: envoyassert completion fish > ~/.config/fish/completions/envoyassert.fish
    """
    root = context.find_root()
    name = root.info_name or ""
    made_by = get_completion_class(shell)
    assert made_by is not None
    # The variable is the one that click's `main` looks at.
    script = made_by(root.command, {}, name, f"_{name}_COMPLETE".upper()).source()
    click.echo(script.rstrip("\n"))
