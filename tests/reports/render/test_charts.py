from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import matplotlib as mpl
import pytest

from carbon_trainer.reports.figures.series import MAX_BINS
from carbon_trainer.reports.render.charts import charts_of
from tests.reports import ledgers
from tests.reports.ledgers import RUN

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["finished", "resumed", "still_open", "lost_gpu"])
def test_charts_are_well_formed_and_described(name, figures):
    for chart in charts_of(figures(name)):
        root = ET.fromstring(chart.svg)
        assert root.attrib["role"] == "img"
        assert root[0].tag == "title"
        assert root[1].text.startswith(chart.desc[:20])
        assert chart.legend
        assert 1 < len(chart.rows) <= 2 * 12
        assert all(len(row) == len(chart.columns) for row in chart.rows)


def test_colours_come_from_the_page_and_fonts_too(figures):
    for chart in charts_of(figures("resumed")):
        assert not re.findall(r"#[0-9a-fA-F]{6}", chart.svg)
        assert "var(--" in chart.svg
        assert "DejaVu" not in chart.svg
        assert "<style" not in chart.svg


def test_a_pause_is_marked(figures):
    power, cumulative, _ = charts_of(figures("resumed"))
    assert "paused 2 h" in power.svg
    assert "1 pause, 2 h in all" in cumulative.desc


def test_without_data_a_sentence_stands_for_the_chart(figures):
    for chart in charts_of(figures("empty")):
        assert chart.svg is None
        assert chart.desc.endswith(".")


def test_the_charts_data_is_the_series(figures):
    found = figures("finished")
    cumulative = charts_of(found)[1]
    assert float(cumulative.rows[-1][1]) == pytest.approx(found.energy.value, rel=1e-3)
    assert float(cumulative.rows[-1][2]) == pytest.approx(found.emissions.value, rel=1e-3)


def test_a_long_run_is_thinned(tmp_path):
    from carbon_trainer.reports.figures.run_figures import run_figures

    chain = ledgers.described(tmp_path / "l.sqlite")
    chain.train(4000)
    found = run_figures(chain.ledger, RUN)
    assert len(found.series.covered_s) <= MAX_BINS
    assert sum(len(chart.svg) for chart in charts_of(found)) < 400_000


def test_drawing_leaves_matplotlibs_settings_alone_and_ignores_them(figures):
    found = figures("finished")
    before = charts_of(found)
    settings = dict(mpl.rcParams)
    with mpl.rc_context({"font.size": 31, "axes.grid": False, "svg.hashsalt": "other"}):
        assert charts_of(found) == before
    assert dict(mpl.rcParams) == settings
