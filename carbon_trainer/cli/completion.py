"""``carbon-train completion``: the completion script of a shell."""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

PROGRAM = "carbon-train"
VARIABLE = "_CARBON_TRAIN_COMPLETE"
"""Set by the script when it calls the program; click derives the name from the program's."""

SHELLS: dict[str, type[ShellComplete]] = {
    "bash": BashComplete,
    "zsh": ZshComplete,
    "fish": FishComplete,
}

WHERE = """\b
bash:  carbon-train completion bash >
         ~/.local/share/bash-completion/completions/carbon-train
zsh:   carbon-train completion zsh > "${fpath[1]}/_carbon-train"
fish:  carbon-train completion fish >
         ~/.config/fish/completions/carbon-train.fish
"""


@click.command("completion", epilog=WHERE)
@click.argument("shell", type=click.Choice(list(SHELLS)))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script for SHELL.

    Completes commands, flags, run ids, recipes, zones, providers, accelerators, formats and
    files.
    """
    script = SHELLS[shell](ctx.find_root().command, {}, PROGRAM, VARIABLE).source()
    click.echo(script)
