from __future__ import annotations

import json
import locale
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from carbon_trainer.errors import InputError
from carbon_trainer.reports.build import render_run, write_run_report
from tests.reports import ledgers
from tests.reports.ledgers import RUN

NAMES = sorted(ledgers.ALL)
VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """Checks that tags nest, and collects tags, ids and links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.ids, self.links, self.open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        values = dict(attrs)
        self.ids += [values["id"]] if "id" in values else []
        self.links += [v for k, v in attrs if k in ("href", "src", "action", "data")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.slow
@pytest.mark.parametrize("form", ["html", "md", "json"])
@pytest.mark.parametrize("name", NAMES)
def test_the_same_ledger_gives_the_same_bytes(name, form, rendered, tmp_path):
    again = render_run(ledgers.ALL[name](tmp_path / "again.sqlite"), RUN, form)
    assert rendered(name, form) == again


@pytest.mark.slow
def test_another_process_locale_and_hash_seed_give_the_same_bytes(tmp_path):
    ledgers.resumed(tmp_path / "l.sqlite").close()
    code = (
        "import sys, locale; locale.setlocale(locale.LC_ALL, '');"
        "from carbon_trainer.ledger.store import Ledger;"
        "from carbon_trainer.reports.build import render_run;"
        f"ledger = Ledger.open({str(tmp_path / 'l.sqlite')!r});"
        f"text = ''.join(render_run(ledger, {RUN!r}, f) for f in ('html', 'md', 'json'));"
        "sys.stdout.buffer.write(text.encode())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True,
            env=os.environ | {"PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": "C.UTF-8"},
        ).stdout
        for seed, zone in (("1", "UTC"), ("2", "Asia/Tokyo"))
    }  # fmt: skip
    assert len(outputs) == 1
    assert locale.getlocale() is not None


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_page_is_whole_and_needs_nothing_else(name, rendered):
    page = Page(rendered(name, "html"))
    assert page.open == []
    assert not {"script", "iframe", "object", "img", "link", "form"} & set(page.tags)
    assert all(link.startswith("#") for link in page.links)
    assert len(set(page.ids)) == len(page.ids)
    assert {link[1:] for link in page.links} <= set(page.ids)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_page_is_small(name, rendered):
    assert len(rendered(name, "html")) < 1_500_000


def test_hostile_text_is_shown_as_text_in_html(rendered):
    text = rendered("hostile", "html")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<script" not in text
    assert "<img" not in text


def test_hostile_text_is_shown_as_text_in_markdown(rendered):
    text = rendered("hostile", "md")
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    assert "<script" not in html
    assert "<img" not in html
    assert "<a " not in html
    assert "not a heading" not in "".join(re.findall(r"<h\d>.*?</h\d>", html))
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


@pytest.mark.parametrize("name", NAMES)
def test_markdown_tables_keep_their_columns(name, rendered):
    html = MarkdownIt("commonmark").enable("table").render(rendered(name, "md"))
    for table in re.findall(r"<table>.*?</table>", html, re.DOTALL):
        rows = re.findall(r"<tr>.*?</tr>", table, re.DOTALL)
        assert len({len(re.findall(r"<t[hd][ >]", row)) for row in rows}) == 1
    assert "| --- |" not in re.sub(r"<[^>]+>", "", html)


@pytest.mark.slow
def test_an_open_run_says_so_plainly(make):
    ledger = make("still_open")
    for form in ("html", "md"):
        text = render_run(ledger, RUN, form)
        assert "still open" in text
        assert "This run is open" in text
    assert json.loads(render_run(ledger, RUN, "json"))["run"]["open"] is True


def test_missing_facts_are_printed_as_missing(make):
    ledger = make("empty")
    html = render_run(ledger, RUN, "html")
    assert "no energy is on record" in html
    assert "<svg" not in html
    assert html.count("missing") > 10
    document = json.loads(render_run(ledger, RUN, "json"))
    assert document["figures"]["energy"]["value"] is None
    assert document["figures"]["energy"]["method"] == "missing"
    assert document["corpus"] is None
    assert document["energy"]["total"] is None


@pytest.mark.slow
def test_gaps_stand_before_the_figures(rendered):
    html = rendered("lost_gpu", "html")
    assert html.index("This record has 3 gaps") < html.index('class="tiles"')
    assert "NVML answers GPU is lost" in html


@pytest.mark.slow
def test_every_figure_leads_to_how_it_is_made(make):
    ledger = make("finished")
    page = Page(render_run(ledger, RUN, "html"))
    document = json.loads(render_run(ledger, RUN, "json"))
    assert {f"how-{key}" for key in document["figures"]} <= set(page.ids)
    assert {"#how-energy", "#how-energy-gpu", "#how-emissions"} <= set(page.links)


def test_json_carries_every_figure_with_unit_method_sigma_and_basis(make):
    ledger = make("resumed")
    text = render_run(ledger, RUN, "json")
    document = json.loads(text)
    assert json.dumps(document, sort_keys=True, indent=2, ensure_ascii=False) + "\n" == text
    assert document["schema_version"] == 2
    head = ledger.head(RUN)
    assert document["chain"] == {"seq": head.seq, "sha256": head.sha256}
    for figure in document["figures"].values():
        assert {"value", "unit", "method", "sigma", "basis", "label"} <= set(figure)
    assert len(document["segments"]) == len(document["factors"]) == 2
    assert [budget["setting"] for budget in document["budgets"]] == ["budget_kwh", "budget_kgco2e"]


@pytest.mark.slow
def test_all_forms_agree(make):
    ledger = make("resumed")
    document = json.loads(render_run(ledger, RUN, "json"))
    html, markdown = render_run(ledger, RUN, "html"), render_run(ledger, RUN, "md")
    energy, emissions = document["figures"]["energy"], document["figures"]["emissions"]
    shown_wh = f"{1000 * energy['value']:.1f} ± {1000 * energy['sigma']:.1f} Wh"
    shown_g = f"{1000 * emissions['value']:.2f} ± {1000 * emissions['sigma']:.2f} gCO2e"
    for text in (re.sub(r"<[^>]+>", "", html), markdown):
        assert shown_wh in text
        assert shown_g in text
        assert document["chain"]["sha256"] in text


@pytest.mark.slow
def test_reports_are_written_as_whole_files(make, tmp_path):
    folder, ledger = tmp_path / "new" / "folder", make("finished")
    files = write_run_report(ledger, RUN, folder)
    assert {name: path.name for name, path in files.items()} == {
        "html": "report.html", "md": "report.md", "json": "report.json",
    }  # fmt: skip
    assert sorted(path.name for path in folder.iterdir()) == [
        "report.html", "report.json", "report.md",
    ]  # fmt: skip
    assert files["html"].read_text(encoding="utf-8") == render_run(ledger, RUN, "html")


def test_a_failed_write_leaves_the_old_report_and_no_litter(make, tmp_path, monkeypatch):
    ledger = make("empty")
    (tmp_path / "report.md").write_text("old")

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(InputError, match="No space left"):
        write_run_report(ledger, RUN, tmp_path, ["md"])
    assert (tmp_path / "report.md").read_text() == "old"
    assert not list(tmp_path.glob(".report*"))


def test_an_unknown_format_names_the_nearest(make, tmp_path):
    with pytest.raises(InputError, match=r"'htm'. Did you mean html\?"):
        write_run_report(make("empty"), RUN, tmp_path, ["htm"])


def test_a_folder_that_cannot_be_written_is_one_sentence(make, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot write the report into"):
        write_run_report(make("empty"), RUN, tmp_path / "file" / "folder")
