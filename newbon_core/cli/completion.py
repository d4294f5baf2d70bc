"""``newbon completion``: the script that a shell sources."""

from __future__ import annotations

import click


@click.command()
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell; names of services, instances and nodes are asked from the server.

    \b
    bash: source <(newbon completion bash)
    zsh:  source <(newbon completion zsh)     (after compinit)
    fish: newbon completion fish > ~/.config/fish/completions/newbon.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"there is no completion for {shell!r}")
    # click asks bash for its version when it makes the script; the script itself runs wherever it is sourced.
    made = kind(ctx.find_root().command, {}, "newbon", "_NEWBON_COMPLETE")
    click.echo(made.source_template % made.source_vars())
