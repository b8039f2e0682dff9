"""``carbon-train``: finds the verb that was called and tells errors in one sentence."""

from __future__ import annotations

import importlib
import sys

import click
from click.shell_completion import CompletionItem

from carbon_trainer import __version__
from carbon_trainer.errors import CarbonTrainerError, did_you_mean
from carbon_trainer.runs.signals import Interrupted, exit_status_of, signal_name

VERBS = {
    "fit": "Train a transformer under a budget, metered, with a report at the end.",
    "data": "Prepare text to train on, and find what was trained with text to be forgotten.",
    "recipes": "List the architectures and sizes that can be trained by name.",
    "submit": "Send a run to Slurm, as a job that may wait and comes back.",
    "profile": "Measure what each power setting costs in speed, on this model and machine.",
    "estimate": "Say what a training would take, before it starts.",
    "plan": "Find when to run and at which power, for least carbon or cost; draw it.",
    "grid": "Carbon intensity: who tells it, a zone's course, as CSV.",
    "simulate": "Tell what policies would have saved over a year of starts on a trace.",
    "runs": "List, show, verify and amend recorded runs.",
    "export": "Write a trained model for transformers to load, its emissions in its card.",
    "report": "Write a run's report, or one over many runs, in any of their forms.",
    "check": "Say whether published figures of a training can be right.",
    "ledger": "Bring ledgers together, or one of an earlier version up to date.",
    "doctor": "Say what can be measured here, what is estimated, and what to do about it.",
    "completion": "Print the script that lets a shell complete commands, runs, zones and more.",
}
"""Each verb's help line, so that ``--help`` needs to import none of them."""


class _Verbs(click.Group):
    """Imports ``carbon_trainer.cli.VERB`` when VERB is called."""

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
        """Complete a verb by its name alone: none is imported for it."""
        if not incomplete or incomplete[0].isalnum():
            found = [name for name in VERBS if name.startswith(incomplete)]
            return [CompletionItem(name, help=VERBS[name]) for name in found]
        return super().shell_complete(ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="carbon-train")
def cli() -> None:
    """Train transformer language models under a hard energy, carbon or cost budget.

    Exit status: 0 finished, 2 bad input, 3 budget reached and checkpoint saved, 4 no plan
    keeps deadline and budget, 75 released until a later hour, 130, 138, 140 or 143 interrupted
    and checkpoint saved, 1 failed.
    """


def main() -> None:
    """Run the command line and exit."""
    try:
        cli(prog_name="carbon-train")
    except CarbonTrainerError as error:
        click.echo(f"carbon-train: {error}", err=True)
        sys.exit(error.exit_status)
    except Interrupted as interrupted:
        # Within a run it is an outcome; here none was open, or it came once more at the end.
        number = interrupted.signal_number
        click.echo(f"carbon-train: interrupted by {signal_name(number)}.", err=True)
        sys.exit(exit_status_of(number))
