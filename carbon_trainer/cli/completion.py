"""``carbon-train completion``: the script that lets a shell complete what is typed."""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

PROGRAM = "carbon-train"
VARIABLE = "_CARBON_TRAIN_COMPLETE"
"""By which the script asks the program; the name is click's, made from the program's."""

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
    """Print SHELL's completion script.

    It completes commands, flags, the ledger's runs, recipes, zones, providers, boards, formats
    and files.
    """
    script = SHELLS[shell](ctx.find_root().command, {}, PROGRAM, VARIABLE).source()
    click.echo(script)
