"""Charts of speed over power at the measured power limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carbon_trainer.acceptance.findings import PartResult
from carbon_trainer.reports.render.charts import Chart, Legend
from carbon_trainer.reports.render.svg import CSS, ENERGY, INK, draw_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def charts_of(result: PartResult) -> list[Chart]:
    """Return a part's charts: of power levels; none for other parts."""
    if result.name != "levels" or not result.tables:
        return []
    rows = [
        (float(limit_w or 0), float(power_w or 0), float(speed or 0))
        for limit_w, power_w, speed, *_ in result.tables[0].rows
    ]
    return [_levels_chart(sorted(rows))]


def _levels_chart(rows: list[tuple[float, float, float]]) -> Chart:
    key, title = "chart-levels", "Speed and energy of the same work over power"
    powers_w = [power_w for _, power_w, _ in rows]
    speeds = [speed for _, _, speed in rows]
    shares = [power_w / speed / (powers_w[-1] / speeds[-1]) for _, power_w, speed in rows]

    def draw(axes: list[Axes]) -> None:
        axes[0].plot(powers_w, speeds, color=ENERGY, marker="o", markersize=4)
        axes[0].plot(powers_w, shares, color=INK, marker="s", markersize=4, linestyle="--")
        axes[0].set_ylim(0, 1.1 * max(*speeds, *shares))
        axes[0].set_title("Share of that at the highest limit; power in W")

    slow, fast = rows[0], rows[-1]
    desc = (
        f"At {slow[1]:.0f} W the work goes at {slow[2]:.0%} of the speed at {fast[1]:.0f} W, for "
        f"{shares[0]:.0%} of the energy."
    )
    return Chart(
        key,
        title,
        desc,
        draw_svg(key, title, desc, draw, panels=1),
        (Legend(CSS[ENERGY], "speed"), Legend(CSS[INK], "energy of the same work")),
        ("Limit, W", "Power, W", "Speed", "Energy"),
        tuple(
            (f"{limit_w:.0f}", f"{power_w:.1f}", f"{speed:.3f}", f"{share:.3f}")
            for (limit_w, power_w, speed), share in zip(rows, shares, strict=True)
        ),
    )
