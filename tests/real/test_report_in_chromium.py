"""Reports in a real browser: they draw, are quiet, ask for nothing and are open to everybody."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe

from carbon_trainer.reports.build import write_run_report
from carbon_trainer.reports.portfolio.build import write_portfolio
from carbon_trainer.reports.portfolio.selection import Selection
from tests.reports import ledgers
from tests.reports.portfolio.many import many

pytestmark = pytest.mark.real

REPORTS = [*sorted(ledgers.ALL), "many"]

NAMES = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    "--no-sandbox", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
)  # fmt: skip
BOXES = """() => [...document.querySelectorAll('figure svg')].map(svg => ({
  title: svg.querySelector('title').textContent,
  drawn: [...svg.querySelectorAll('path, use')].filter(path => {
    const box = path.getBoundingClientRect();
    return box.width > 20 && box.height > 2;
  }).length,
  width: svg.getBoundingClientRect().width,
}))"""
COLOURS = """() => ({
  background: getComputedStyle(document.body).backgroundColor,
  ink: getComputedStyle(document.body).color,
  tick: getComputedStyle(document.querySelector('figure svg text')).fill,
})"""


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    from playwright.sync_api import sync_playwright

    executable = next((found for name in NAMES if (found := shutil.which(name))), None)
    assert executable, f"none of {', '.join(NAMES)} is installed"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=list(QUIET))
        yield chromium
        chromium.close()


@pytest.fixture
def report(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    if request.param == "many":
        paths = write_portfolio(many(tmp_path / "l.sqlite"), Selection(), tmp_path, ["html"])
        return paths["html"].as_uri()
    ledger = ledgers.ALL[request.param](tmp_path / "l.sqlite")
    return write_run_report(ledger, ledgers.RUN, tmp_path, ["html"])["html"].as_uri()


def opened(browser, url, **settings):
    page = browser.new_context(**settings).new_page()
    page.said, page.asked = [], []
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(url)
    page.wait_for_load_state("networkidle")
    return page


def luminance(colour: str) -> float:
    """Relative luminance of an ``rgb(r, g, b)`` (WCAG 2.2)."""
    shares = [float(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("report", REPORTS, indirect=True)
def test_it_says_nothing_and_asks_for_nothing_but_itself(browser, report):
    page = opened(browser, report)
    assert page.said == []
    assert page.asked == [report]
    page.context.close()


@pytest.mark.parametrize("report", ["finished", "resumed", "lost_gpu", "many"], indirect=True)
def test_every_chart_is_drawn(browser, report):
    page = opened(browser, report)
    charts = page.evaluate(BOXES)
    assert len(charts) == (2 if "portfolio" in report else 3)
    assert all(chart["drawn"] >= 2 and chart["width"] > 300 for chart in charts), charts
    page.context.close()


@pytest.mark.parametrize("report", ["resumed", "many"], indirect=True)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_readable_by_day_by_night_and_in_print(browser, report, scheme):
    page = opened(browser, report, color_scheme=scheme)
    colours = page.evaluate(COLOURS)
    is_dark = luminance(colours["background"]) < 0.2
    assert is_dark == (scheme == "dark")
    assert contrast(colours["ink"], colours["background"]) >= 4.5
    assert contrast(colours["tick"], colours["background"]) >= 4.5
    page.emulate_media(media="print")
    printed = page.evaluate(COLOURS)
    assert luminance(printed["background"]) > 0.9
    assert contrast(printed["tick"], printed["background"]) >= 4.5
    assert len(page.pdf(format="A4")) > 20_000
    page.context.close()


@pytest.mark.parametrize("report", REPORTS, indirect=True)
def test_a_phone_does_not_scroll_sideways(browser, report):
    page = opened(browser, report, viewport={"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.context.close()


@pytest.mark.parametrize("report", ["hostile"], indirect=True)
def test_hostile_names_stay_text(browser, report):
    page = opened(browser, report)
    assert page.locator("h1").inner_text() == ledgers.HOSTILE
    assert page.locator("script, img").count() == 0
    page.context.close()


@pytest.mark.parametrize("report", ["finished"], indirect=True)
def test_a_figures_name_leads_to_how_it_is_made(browser, report):
    page = opened(browser, report)
    page.get_by_role("link", name="Emissions", exact=True).click()
    assert page.url.endswith("#how-emissions")
    assert page.locator("#how-emissions").is_visible()
    page.context.close()


@pytest.mark.parametrize("report", REPORTS, indirect=True)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_that_shuts_anybody_out(browser, report, scheme):
    page = opened(browser, report, color_scheme=scheme, bypass_csp=True)
    # What is folded away is checked as well.
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    found = Axe().run(page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"][:120]) for one in found] == []
    page.context.close()


@pytest.mark.parametrize("report", ["amended", "many"], indirect=True)
def test_the_keyboard_reaches_everything_that_opens_or_scrolls(browser, report):
    page = opened(browser, report)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    reached = set()
    for _ in range(600):
        page.keyboard.press("Tab")
        mark = page.evaluate(
            "() => { const e = document.activeElement; e.dataset.seen = '1'; return e.tagName }"
        )
        if mark == "BODY":
            break
        reached.add(mark)
    left = page.evaluate(
        "() => [...document.querySelectorAll('summary, a[href]:not(.skip), [tabindex=\"0\"]')]"
        ".filter(e => e.checkVisibility() && !e.dataset.seen).length"
    )
    assert left == 0
    assert {"A", "SUMMARY", "DIV"} <= reached
    page.context.close()
