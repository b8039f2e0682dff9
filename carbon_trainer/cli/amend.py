"""``carbon-train runs correct | state | instrument``: what is said of a run after the event."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import yaml

from carbon_trainer import machine
from carbon_trainer.cli import complete
from carbon_trainer.cli.options import ledger_options, open_ledger
from carbon_trainer.clock import SystemClock
from carbon_trainer.errors import InputError, did_you_mean
from carbon_trainer.ledger.amend import INSTRUMENTS, OPERATIONS, amend, changes_of
from carbon_trainer.ledger.facts import Amendment, BoundaryStated, Corrected, InstrumentHeld

Command = Callable[..., Any]

_INSTRUMENT = {
    "instrument": str, "registry": str, "serial": str, "vintage": str, "market": str,
    "rate_gco2e_per_kwh": float, "energy_kwh": float, "source": str,
}  # fmt: skip


def _by(command: Command) -> Command:
    return click.option("--by", metavar="NAME", help="Who says so.  [default: the login name]")(
        command
    )


@click.command("correct")
@click.argument("run", shell_complete=complete.runs)
@click.option("--record", "seq", type=int, required=True, help="Number of the wrong record.")
@click.option(
    "--set",
    "changes",
    multiple=True,
    required=True,
    metavar="FIELD=VALUE",
    help="What is right; may be given several times.",
)
@click.option("--reason", required=True, help="Why the record is wrong.")
@_by
@ledger_options
def correct(
    run: str, seq: int, changes: Sequence[str], reason: str, by: str | None,
    ledger: str | None, runs_dir: str | None,
) -> None:  # fmt: skip
    """Correct a record of RUN by a new one with a reason; the wrong one stays where it is."""
    texts = dict(_change(text) for text in changes)
    source = open_ledger(ledger, runs_dir)
    fields = changes_of(source, source.resolve(run), seq, texts)
    fact = Corrected(of_seq=seq, changes=fields, reason=reason, by=by or machine.user_name())
    _say(run, fact, ledger, runs_dir)


@click.command("state")
@click.argument("run", shell_complete=complete.runs)
@click.option(
    "--operation",
    type=click.Choice(OPERATIONS),
    required=True,
    help="Whose machines it ran on: own (scope 2), cloud (scope 3 category 1) or colocation "
    "(scope 3 category 8).",
)
@click.option("--organisation", default="", help="Who reports the run.")
@click.option("--provider", default="", help="Of the cloud or the colocation.")
@click.option("--region", default="", help="The provider's region.")
@_by
@ledger_options
def state(
    run: str, operation: str, organisation: str, provider: str, region: str, by: str | None,
    ledger: str | None, runs_dir: str | None,
) -> None:  # fmt: skip
    """State whose machines RUN was on, which decides the scope of its emissions."""
    fact = BoundaryStated(
        operation=operation, organisation=organisation, provider=provider, region=region,
        by=by or machine.user_name(),
    )  # fmt: skip
    _say(run, fact, ledger, runs_dir)


@click.command("instrument")
@click.argument("run", shell_complete=complete.runs)
@click.argument("file", type=click.Path(path_type=Path))
@_by
@ledger_options
def instrument(
    run: str, file: Path, by: str | None, ledger: str | None, runs_dir: str | None
) -> None:
    """Book the contractual instrument in FILE (YAML) for RUN's electricity.

    FILE names instrument, registry, serial, vintage, market, rate_gco2e_per_kwh, energy_kwh and,
    where it is known, source (wind, solar, hydro, nuclear …).
    """
    fact = InstrumentHeld(**_instrument(file), by=by or machine.user_name())
    _say(run, fact, ledger, runs_dir)


def _say(run: str, fact: Amendment, ledger: str | None, runs_dir: str | None) -> None:
    source = open_ledger(ledger, runs_dir)
    run_id = source.resolve(run)
    head = amend(source, run_id, fact, SystemClock().now_ns())
    click.echo(f"{run_id}: record {head.seq} says so; write its report again.")


def _change(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"--set is {text!r}, but should be FIELD=VALUE, e.g. --set pue=1.2.")
    return name.strip(), value


def _instrument(file: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {file}: {error}.") from error
    except yaml.YAMLError as error:
        raise InputError(f"{file} is not YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(values, dict):
        raise InputError(f"{file} must name an instrument's fields, e.g. `registry: AIB`.")
    for name in values:
        if name not in _INSTRUMENT:
            raise InputError(
                f"{file}: there is no field {name!r}.{did_you_mean(str(name), _INSTRUMENT)} The "
                f"fields are {', '.join(_INSTRUMENT)}."
            )
    for name in _INSTRUMENT:
        if name not in values and name not in ("energy_kwh", "source"):
            hint = f" (one of {', '.join(INSTRUMENTS)})" if name == "instrument" else ""
            raise InputError(f"{file}: {name}{hint} is missing.")
    filled = {"energy_kwh": None, "source": "", **values}
    return {
        name: str(value) if _INSTRUMENT[name] is str else value for name, value in filled.items()
    }
