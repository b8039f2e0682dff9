"""What ``carbon-train plan`` does."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from carbon_trainer.cli.actions.plan_page import page
from carbon_trainer.cli.actions.problem import idles_of, levels_of, trace_of, work_of
from carbon_trainer.config import RunConfig, read_yaml
from carbon_trainer.durations import deadline_of, ns_of, span_of, time_of
from carbon_trainer.errors import InputError
from carbon_trainer.grid.climatology import climatology
from carbon_trainer.grid.csv import read_prices
from carbon_trainer.grid.forecasts import expected_intensity
from carbon_trainer.grid.series import IntensitySeries, SeriesInfo, iso
from carbon_trainer.grid.zones import ZoneFactors
from carbon_trainer.planning.plan import InfeasibleError, Plan
from carbon_trainer.planning.policies import POLICIES, policy
from carbon_trainer.planning.problem import NS_PER_H, Budgets, Objective, PlanProblem, PowerCap
from carbon_trainer.units import emissions_text, energy_text


def show_plan(name: str, compare: bool, html: Path | None, as_json: bool, **flags: Any) -> None:
    """Print a plan, as JSON if requested; write it as an HTML page too if requested."""
    problem = _problem(_with_run_file(flags))
    plan = policy(name)(problem)
    if html is not None:
        html.write_text(page(problem, plan, policy("run-now")(_without_budgets(problem))))
    if as_json:
        click.echo(json.dumps(_json(problem, plan, compare), indent=2))
        return
    console = Console(highlight=False, soft_wrap=True)
    _print(console, problem, plan)
    if compare:
        console.print(_comparison(problem))
    if html is not None:
        console.print(f"Page       {html}")


def _problem(flags: dict[str, Any]) -> PlanProblem:
    trace = None if flags["trace"] is None else trace_of(flags["trace"])
    start_ns = _start_ns(flags["start"], trace)
    deadline_ns = deadline_of(flags["deadline"], start_ns)
    intensity = trace or _expected(flags["zone"], flags["provider"], start_ns, deadline_ns)
    pause, release = idles_of(flags)
    kg = flags["budget_kgco2e"]
    return PlanProblem(
        now_ns=start_ns,
        deadline_ns=deadline_ns,
        work_hours=work_of(flags),
        power_settings=levels_of(flags["levels"]),
        intensity=intensity,
        pause=pause,
        release=release,
        queue_w=flags["queue_w"],
        price=_price(flags, start_ns, deadline_ns),
        objective=_objective(flags),
        budgets=Budgets(
            flags["budget_kwh"], None if kg is None else 1000 * kg, flags["budget_cost"]
        ),
        not_before_ns=_time_ns(flags["not_before"], "--not-before"),
        blackouts=tuple(span_of(text, "--blackout") for text in flags["blackouts"]),
        caps=tuple(_parse_cap(text) for text in flags["caps"]),
    )


def _with_run_file(flags: dict[str, Any]) -> dict[str, Any]:
    path = flags.pop("run_file")
    if path is None:
        return flags
    config = RunConfig.from_sources((str(path), read_yaml(path)))
    names = ("zone", "price_per_kwh", "budget_kwh", "budget_kgco2e", "budget_cost")
    return {
        **flags,
        **{name: getattr(config, name) for name in names if flags[name] is None},
    }


def _start_ns(text: str | None, trace: IntensitySeries | None) -> int:
    if text is not None:
        return ns_of(time_of(text, "--start"))
    if trace is not None:
        return trace.start_ns
    return ns_of(datetime.now(UTC).replace(minute=0, second=0, microsecond=0))


def _time_ns(text: str | None, flag: str) -> int | None:
    return None if text is None else ns_of(time_of(text, flag))


def _expected(zone: str | None, name: str | None, start_ns: int, end_ns: int) -> IntensitySeries:
    if zone is None:
        if name is not None:
            raise InputError("--provider needs --zone")
        return climatology(ZoneFactors().intensity(None), start_ns, end_ns)
    begin, end = (datetime.fromtimestamp(ns / 1e9, UTC) for ns in (start_ns, end_ns))
    return expected_intensity(zone, name, begin, end)


def _price(flags: dict[str, Any], start_ns: int, end_ns: int) -> IntensitySeries | None:
    if flags["price_trace"] is not None:
        return read_prices(flags["price_trace"])
    if flags["price_per_kwh"] is None:
        return None
    info = SeriesInfo(
        zone="price", provider="constant", accounting="as given", source="given", licence=""
    )
    return IntensitySeries.constant(info, flags["price_per_kwh"], start_ns, end_ns)


def _objective(flags: dict[str, Any]) -> Objective:
    if flags["objective"] == "carbon":
        return Objective()
    if flags["objective"] == "cost":
        return Objective(0.0, 1.0)
    if flags["carbon_price"] is None:
        raise InputError("--objective blend needs --carbon-price, per tonne of CO2e")
    return Objective(flags["carbon_price"] / 1e6, 1.0)


def _parse_cap(text: str) -> PowerCap:
    span, equals, watts = text.partition("=")
    try:
        power_w = float(watts)
    except ValueError:
        power_w = -1.0
    if not equals or power_w < 0:
        raise InputError(
            f"--cap: invalid power cap {text!r} (expected FROM/TO=WATTS, such as "
            "2026-11-24T12:00Z/2026-11-24T18:00Z=500)"
        )
    return PowerCap(*span_of(span, "--cap"), power_w)


def _without_budgets(problem: PlanProblem) -> PlanProblem:
    return dataclasses.replace(problem, budgets=Budgets())


def _json(problem: PlanProblem, plan: Plan, compare: bool) -> dict[str, Any]:
    document = plan.as_json()
    run_now = policy("run-now")(_without_budgets(problem))
    document["run_now_gco2e"] = run_now.emissions_gco2e
    document["intensity"] = {
        "zone": problem.intensity.info.zone,
        "accounting": problem.intensity.info.accounting,
        "source": problem.intensity.info.source,
    }
    if compare:
        document["policies"] = {
            name: None if alternative is None else _summary(alternative)
            for name, alternative in _plan_by_policy(problem).items()
        }
    return document


def _summary(plan: Plan) -> dict[str, Any]:
    return {
        "emissions_gco2e": plan.emissions_gco2e,
        "energy_kwh": plan.energy_kwh,
        "cost": plan.cost,
        "resumes": plan.resumes,
        "finish": iso(plan.finish_ns),
    }


def _plan_by_policy(problem: PlanProblem) -> dict[str, Plan | None]:
    """Return each policy's plan; None if it misses the deadline.

    Only the optimal policy knows budgets; the others would fail on every problem that has one.
    """
    plans: dict[str, Plan | None] = {}
    for name, decide in POLICIES.items():
        try:
            plans[name] = decide(problem if name == "optimal" else _without_budgets(problem))
        except InfeasibleError:
            plans[name] = None
    return plans


def _print(console: Console, problem: PlanProblem, plan: Plan) -> None:
    run_now = policy("run-now")(_without_budgets(problem))
    info = problem.intensity.info
    console.print(f"Intensity: {info.zone}, {info.accounting}, {info.source}")
    console.print(_schedule(plan))
    kg, now_kg = plan.emissions_gco2e / 1000, run_now.emissions_gco2e / 1000
    saving = f"{100 * (1 - kg / now_kg):.1f} % less than run now" if now_kg else "as run now"
    console.print(f"Emissions  {emissions_text(kg)} ({saving}, {emissions_text(now_kg)})")
    energy, now_energy = energy_text(plan.energy_kwh), energy_text(run_now.energy_kwh)
    console.print(f"Energy     {energy} (run now {now_energy})")
    if problem.price is not None:
        console.print(f"Cost       {plan.cost:.4g} (run now {run_now.cost:.4g})")
    slack_h = (problem.deadline_ns - plan.finish_ns) / NS_PER_H
    console.print(f"Finish     {iso(plan.finish_ns)}, {slack_h:.1f} h before the deadline")
    if plan.gap is not None:
        console.print(
            f"Gap        at most {100 * plan.gap:.3f} % above the optimum (proved); "
            f"solved in {plan.solve_ms:.0f} ms"
        )
    for note in plan.notes:
        console.print(f"Note: {note}.")


def _schedule(plan: Plan) -> Table:
    """Return a table of the schedule, with consecutive slots of the same mode and power joined."""
    table = Table(box=None, pad_edge=False)
    for heading in ("from (UTC)", "to (UTC)", "mode"):
        table.add_column(heading, no_wrap=True)
    for heading in ("power", "work", "energy", "emissions"):
        table.add_column(heading, justify="right", no_wrap=True)
    joined: list[list[Any]] = []
    for slot in plan.slots:
        mode = slot.mode.value
        if joined and joined[-1][2] == mode and joined[-1][3] == slot.power_w:
            last = joined[-1]
            last[1], last[4] = slot.end_ns, last[4] + slot.work_hours
            last[5], last[6] = last[5] + slot.energy_kwh, last[6] + slot.emissions_gco2e
        else:
            joined.append([
                slot.start_ns, slot.end_ns, mode, slot.power_w, slot.work_hours,
                slot.energy_kwh, slot.emissions_gco2e,
            ])  # fmt: skip
    for start_ns, end_ns, mode, power_w, work, kwh, grams in joined:
        table.add_row(
            iso(start_ns)[:16].replace("T", " "), iso(end_ns)[:16].replace("T", " "), mode,
            f"{power_w:.0f} W", f"{work:.2f} h", energy_text(kwh), emissions_text(grams / 1000),
        )  # fmt: skip
    return table


def _comparison(problem: PlanProblem) -> Table:
    plans = _plan_by_policy(problem)
    run_now = plans["run-now"]
    table = Table(box=None, pad_edge=False)
    table.add_column("policy")
    for heading in ("emissions", "saving", "energy", "resumes", "finish (UTC)"):
        table.add_column(heading, justify="right")
    for name, plan in plans.items():
        if plan is None:
            table.add_row(name, "misses the deadline", "", "", "", "")
            continue
        saving = ""
        if run_now is not None and run_now.emissions_gco2e:
            saving = f"{100 * (1 - plan.emissions_gco2e / run_now.emissions_gco2e):.1f} %"
        table.add_row(
            name, emissions_text(plan.emissions_gco2e / 1000), saving,
            energy_text(plan.energy_kwh), str(plan.resumes),
            iso(plan.finish_ns)[:16].replace("T", " "),
        )  # fmt: skip
    return table
