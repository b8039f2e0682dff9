"""``carbon-train``: dispatches to a command and reports errors in one sentence."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator

import click
from click.shell_completion import CompletionItem

from carbon_trainer import __version__
from carbon_trainer.errors import CarbonTrainerError, did_you_mean
from carbon_trainer.runs.signals import Interrupted, exit_status_of, signal_name

VERBS = {
    "fit": "Train a transformer under an energy, carbon or cost budget.",
    "data": "Prepare text; find datasets and runs that used text you must delete.",
    "recipes": "List the architectures and sizes that can be trained by name.",
    "submit": "Submit a run to Slurm as a requeueable job.",
    "profile": "Measure speed and power at each power setting of this machine.",
    "estimate": "Estimate a training's time, energy, emissions and cost.",
    "plan": "Plan when to run and at which power, for least carbon or cost.",
    "grid": "Carbon intensity: list providers, show a zone's forecast, download CSV.",
    "simulate": "Back-test scheduling policies on historical carbon intensity.",
    "runs": "List, show, verify and amend recorded runs.",
    "export": "Export a trained model for transformers, with emissions in its card.",
    "report": "Write the report of one run or of many, in any format.",
    "check": "Sanity-check published energy and emission figures.",
    "ledger": "Merge or migrate ledgers.",
    "doctor": "Show what can be measured on this machine, and how to fix problems.",
    "completion": "Print the completion script for a shell.",
}
"""Each command's help line, so that ``--help`` needs to import none of them."""


class _Verbs(click.Group):
    """Imports ``carbon_trainer.cli.VERB`` only when VERB is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"carbon_trainer.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            ctx.fail(f"there is no command {args[0]!r}.{did_you_mean(args[0], VERBS)}")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a command by its name alone, without importing any."""
        if not incomplete or incomplete[0].isalnum():
            names = [name for name in VERBS if name.startswith(incomplete)]
            return [CompletionItem(name, help=VERBS[name]) for name in names]
        return super().shell_complete(ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="carbon-train")
def cli() -> None:
    """Train transformer language models under a hard energy, carbon or cost budget.

    Exit status: 0 finished; 1 failed; 2 bad input; 3 budget reached, checkpoint saved;
    4 no plan meets the deadline and the budget; 75 released until a later hour;
    130, 138, 140, 143 interrupted, checkpoint saved.
    """


def command_paths(
    command: click.Command = cli, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    """Yield the words of each command and subcommand, such as ``("runs", "list")``."""
    yield path
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            subcommand = command.get_command(context, name)
            if subcommand is not None:
                yield from command_paths(subcommand, (*path, name))


def main() -> None:
    """Run the command line and exit."""
    try:
        cli(prog_name="carbon-train")
    except CarbonTrainerError as error:
        click.echo(f"carbon-train: {error}", err=True)
        sys.exit(error.exit_status)
    except Interrupted as interrupted:
        # While a run is open a signal is one of its outcomes. It only gets here before a run was
        # opened, or when a second signal cuts the closing short.
        number = interrupted.signal_number
        click.echo(f"carbon-train: interrupted by {signal_name(number)}.", err=True)
        sys.exit(exit_status_of(number))
