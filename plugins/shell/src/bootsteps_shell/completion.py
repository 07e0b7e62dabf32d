"""`kernel completion`."""

from __future__ import annotations

import click

from bootsteps.cli import root

__all__ = ["completion"]


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what lets the Tab key complete commands and options in your SHELL.

    \b
    kernel completion bash >> ~/.bashrc          bash 4.4 and later
    kernel completion zsh >> ~/.zshrc
    kernel completion fish > ~/.config/fish/completions/kernel.fish

    It completes what is installed when you press the key: commands of new plugins, too.
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    if found is None:  # pragma: no cover - click knows all that the argument allows
        raise click.UsageError(f"click has no completion for {shell}")
    # Not source(): in bash that starts bash to ask for its version, and the script may be for another machine.
    complete = found(root, {}, "kernel", "_KERNEL_COMPLETE")
    click.echo(complete.source_template % complete.source_vars())
