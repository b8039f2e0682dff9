"""The documentation in a real browser: quiet, searchable from a folder, open to everybody."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]
NAMES = ("chromium", "chromium-browser", "google-chrome")
PAGES = ("index", "guide/server", "reports", "completion", "reference/settings", "comparison")
WIDE, NARROW = 1400, 400


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, check=True,
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    executable = next((found for name in NAMES if (found := shutil.which(name))), None)
    assert executable, f"none of {', '.join(NAMES)} is installed"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_pages_are_quiet_ask_for_nothing_and_fit(
    browser: Any, site: Path, width: int, scheme: str
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    for name in PAGES:
        page.goto((site / f"{name}.html").as_uri())
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert said == []
    context.close()


def test_search_finds_a_setting_without_a_server(browser: Any, site: Path) -> None:
    page = browser.new_page()
    page.goto((site / "index.html").as_uri())
    page.fill("input.md-search__input", "budget_kgco2e")
    page.wait_for_selector(".md-search-result__item a")
    found = page.eval_on_selector_all(
        ".md-search-result__item a", "links => links.map(link => link.href)"
    )
    assert any("reference/settings.html" in link for link in found)
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_what_we_wrote_is_accessible(browser: Any, site: Path, name: str, scheme: str) -> None:
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    page.goto((site / f"{name}.html").as_uri())
    standard = {"runOnly": ["wcag2a", "wcag2aa"]}
    found = Axe().run(page, context=".md-content", options=standard).response["violations"]
    assert [one["id"] for one in found] == [], found
    context.close()
