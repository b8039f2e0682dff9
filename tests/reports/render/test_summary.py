from __future__ import annotations

from carbon_trainer.reports.render.summary import summary_rows


def test_the_closing_table_has_components_total_emissions_cost_and_tokens(figures):
    rows = summary_rows(figures("finished"))
    assert [row.label for row in rows] == [
        "GPU energy", "CPU energy", "RAM energy", "Energy of the machines",
        "Energy of the facility", "Emissions (location-based)", "Cost of electricity",
        "Tokens per kWh",
    ]  # fmt: skip
    assert [row.method for row in rows[:3]] == ["measured", "estimated", "estimated"]
    assert [row.is_total for row in rows].index(True) == 3
    assert all("±" in row.value for row in rows)


def test_components_and_total_share_a_unit(figures):
    rows = summary_rows(figures("finished"))
    assert {row.value.split()[-1] for row in rows[:4]} == {"Wh"}


def test_an_empty_runs_table_says_missing(figures):
    assert {row.value for row in summary_rows(figures("empty"))} == {"missing"}
