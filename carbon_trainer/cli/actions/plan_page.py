"""A plan as a page: intensity, mode, power and cumulative emissions over time."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from html import escape

import numpy as np

from carbon_trainer.clock import NS_PER_S
from carbon_trainer.grid.series import iso
from carbon_trainer.planning.plan import Plan
from carbon_trainer.planning.problem import Mode, PlanProblem
from carbon_trainer.units import emissions_text, energy_text

COLOURS = {
    Mode.QUEUE: "#b9c0c9",
    Mode.RUN: "#1b7f5c",
    Mode.RESTART: "#c46a1a",
    Mode.PAUSE: "#e3b23c",
    Mode.RELEASE: "#8fb8de",
}
"""Distinguishable in greyscale too."""

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem;
       color: #1c2430; background: #fff; }
svg { width: 100%; height: auto; background: #fff; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .8rem .2rem 0; text-align: right; border-bottom: 1px solid #d5dae0; }
th:first-child, td:first-child, .left { text-align: left; }
@media (prefers-color-scheme: dark) { body { color: #e6eaef; background: #14181d; }
  svg { border-radius: 6px; } th, td { border-color: #39424d; } }
"""


def page(problem: PlanProblem, plan: Plan, run_now: Plan) -> str:
    """Return a plan, compared with running at once, as a self-contained HTML page."""
    info = problem.intensity.info
    saving = 1 - plan.emissions_gco2e / run_now.emissions_gco2e if run_now.emissions_gco2e else 0.0
    bound = ""
    if plan.gap is not None:
        bound = f"<p>At most {100 * plan.gap:.3f} % above the optimum (proved).</p>"
    notes = "".join(f"<li>{escape(note)}.</li>" for note in plan.notes)
    rows = _row("This plan", plan) + _row("Run now", run_now)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Plan: {escape(info.zone)}</title>
<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>
<h1>When to run, and at which power</h1>
<p>{problem.work_hours:g} hours of work between {iso(problem.now_ns)} and
{iso(problem.deadline_ns)}: {100 * saving:.1f} % fewer emissions than running at once.</p>
{bound}
{_chart(problem, plan, run_now)}
<table><thead><tr><th>Policy</th><th>Emissions</th><th>Energy</th><th>Resumes</th><th>Finish (UTC)
</th></tr></thead><tbody>{rows}</tbody></table>
<p>Intensity: {escape(info.zone)}, {escape(info.accounting)}, {escape(info.source)}. Emissions are
planned, not measured.</p><ul>{notes}</ul>
</body></html>
"""


def _row(name: str, plan: Plan) -> str:
    return (
        f"<tr><td>{name}</td><td>{emissions_text(plan.emissions_gco2e / 1000)}</td>"
        f"<td>{energy_text(plan.energy_kwh)}</td><td>{plan.resumes}</td>"
        f"<td>{iso(plan.finish_ns)[:16].replace('T', ' ')}</td></tr>"
    )


def _chart(problem: PlanProblem, plan: Plan, run_now: Plan) -> str:
    # Slow to import, and only --html needs it.
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7.2), layout="constrained")
    intensity, power, total = figure.subplots(3, 1, sharex=True, height_ratios=(2, 2, 2))
    series = problem.intensity.between(problem.now_ns, problem.deadline_ns)
    edges = series.start_ns + series.step_ns * np.arange(len(series) + 1)
    times = [_time(int(edge)) for edge in edges]
    intensity.stairs(series.intensity_gco2e_per_kwh, times, color="#39424d", baseline=None)
    intensity.set_ylabel("intensity\ngCO2e/kWh")
    intensity.set_ylim(bottom=0)
    labelled: set[Mode] = set()
    for first_ns, last_ns, mode, power_w in _spans(plan):
        begin, end = _time(first_ns), _time(last_ns)
        # A label for each bar would repeat the mode in the legend.
        label = mode.value if mode not in labelled else None
        labelled.add(mode)
        power.bar(begin, power_w, width=end - begin, align="edge", color=COLOURS[mode], label=label)
        intensity.axvspan(begin, end, color=COLOURS[mode], alpha=0.25, linewidth=0)
    power.set_ylabel("power, W")
    power.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=5, frameon=False)
    for schedule, name, style in ((plan, "this plan", "-"), (run_now, "run now", "--")):
        slots = schedule.slots
        ends = [_time(slots[0].start_ns), *(_time(slot.end_ns) for slot in slots)]
        grams = np.cumsum([0.0, *(slot.emissions_gco2e for slot in slots)])
        total.plot(ends, grams / 1000, style, color="#1b7f5c" if style == "-" else "#39424d",
                   label=name)  # fmt: skip
    total.set_ylabel("cumulative emissions\nkgCO2e")
    total.set_ylim(bottom=0)
    total.legend(loc="upper left", frameon=False)
    locator = AutoDateLocator(tz=UTC)  # type: ignore[no-untyped-call]
    total.xaxis.set_major_locator(locator)
    total.xaxis.set_major_formatter(
        ConciseDateFormatter(locator, tz=UTC)  # type: ignore[no-untyped-call]
    )
    total.set_xlim(_time(problem.now_ns), _time(problem.deadline_ns))
    total.set_xlabel("UTC")
    for axes in (intensity, power, total):
        axes.spines[["top", "right"]].set_visible(False)
    written = io.StringIO()
    figure.savefig(written, format="svg", metadata={"Date": None})
    svg = written.getvalue()
    return svg[svg.index("<svg") :].replace("<svg", '<svg role="img" aria-label="The plan"', 1)


def _spans(plan: Plan) -> list[tuple[int, int, Mode, float]]:
    """Return (start, end, mode, watts) of what is done, neighbours of one kind joined."""
    spans: list[tuple[int, int, Mode, float]] = []
    for slot in plan.slots:
        start_ns = slot.start_ns
        if spans and spans[-1][2:] == (slot.mode, slot.power_w):
            start_ns = spans.pop()[0]
        spans.append((start_ns, slot.end_ns, slot.mode, slot.power_w))
    return spans


def _time(time_ns: int) -> datetime:
    return datetime.fromtimestamp(time_ns / NS_PER_S, UTC)
