"""The documentation is true: its commands and code exist, and its site builds without a warning."""

from __future__ import annotations

import ast
import importlib
import os
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click
import pytest
import yaml

import carbon_trainer
from carbon_trainer import callbacks
from carbon_trainer.cli import options
from carbon_trainer.cli.actions.amend import read_instrument
from carbon_trainer.cli.main import VERBS, cli
from carbon_trainer.config import RunConfig, RunSettings, read_yaml
from carbon_trainer.grid.providers import infos
from carbon_trainer.reports.formats import FORMATS

ROOT = Path(__file__).parents[1]
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
OWN = re.compile(r"(?:^|carbon-trainer |-m )carbon[-_]train(?:er)? (.*)")
"""Our command in a line: by its name, in a container of ours, or as a module."""


@dataclass(frozen=True)
class Block:
    """A block of code in a page, in lists and tabs too."""

    page: str
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}: {self.text.strip().splitlines()[0] if self.text.strip() else ''}"


def _blocks(*languages: str) -> list[Block]:
    found = []
    for path in PAGES:
        fences = re.findall(
            r"^( *)```(\w+)\n(.*?)^\1```", path.read_text(), re.MULTILINE | re.DOTALL
        )
        for _, language, text in fences:
            if language in languages and "--8<--" not in text:
                page = path.relative_to(ROOT).as_posix()
                found.append(Block(page, language, textwrap.dedent(text)))
    return found


def _commands() -> Iterator[tuple[str, str]]:
    """Yield (page, what follows ``carbon-train``) of each line that calls it."""
    for block in _blocks("bash", "sh"):
        for line in block.text.replace("\\\n", " ").splitlines():
            # What is in quotes may have the shell's own characters in it.
            for part in re.findall(r"""(?:"[^"]*"|'[^']*'|[^"'|>;&])+""", line):
                called = OWN.search(part.strip())
                image = "docker build" in part
                if called and not image:
                    yield block.page, called[1]


COMMANDS = sorted(set(_commands()))


def _parsed(words: list[str]) -> click.Context:
    """Parse a command as click does, values and all, without calling it."""
    context, command = click.Context(cli, info_name="carbon-train"), cli
    while isinstance(command, click.Group):
        name, found, words = command.resolve_command(context, words)
        assert found is not None
        command = found
        if not isinstance(command, click.Group):
            return command.make_context(name, words, parent=context)
        context = click.Context(command, info_name=name, parent=context)
    return context


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=[f"{p}-{c[:40]}" for p, c in COMMANDS])
def test_every_command_that_is_shown_can_be_typed(page: str, line: str) -> None:
    words = shlex.split(line, comments=True)
    if words == ["fit"] or "--help" in words:
        return
    context = _parsed(words)
    if context.command.name in ("fit", "submit", "profile"):
        settings = {
            name: value for name, value in context.params.items() if name in RunConfig.model_fields
        }
        RunConfig.from_sources((page, options.explicit_settings(settings)))


def test_commands_are_found_in_many_pages() -> None:
    assert len({page for page, _ in COMMANDS}) > 10
    assert ("README.md", "fit --budget-kwh 500") in COMMANDS


@pytest.mark.parametrize("block", _blocks("yaml"), ids=str)
def test_every_file_of_settings_that_is_shown_is_read(block: Block, tmp_path: Path) -> None:
    name = block.text.split("\n", 1)[0].removeprefix("# ")
    (tmp_path / name.split()[0]).write_text(block.text)
    if name == "run.yaml":
        RunConfig.from_sources((block.page, read_yaml(tmp_path / name)))
    elif name == "go.yaml":
        assert read_instrument(tmp_path / name)["registry"]
    else:
        assert yaml.safe_load(block.text)


@pytest.mark.slow
@pytest.mark.parametrize("block", _blocks("python"), ids=str)
def test_all_that_shown_code_imports_from_here_exists(block: Block) -> None:
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("carbon_trainer"):
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module}.{alias.name}"


@pytest.mark.slow
@pytest.mark.parametrize(
    "block",
    [
        block
        for block in _blocks("python")
        if block.page in {f"docs/{name}.md" for name in ("index", "callbacks", "meter", "planning")}
    ],
    ids=str,
)
def test_shown_code_runs(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    import lightning

    trained: list[int] = []
    names = {
        "lightning": lightning, "data": range(3), "train": trained.append, "validate": lambda: None,
    }  # fmt: skip
    exec(block.text, names)
    if "train(batch)" in block.text:
        assert trained == [0, 1, 2]
    if "lightning.Trainer" in block.text:
        assert isinstance(names["trainer"], lightning.Trainer)


# The site


class Page(HTMLParser):
    """A built page's links, anchors, and what it loads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.loaded: list[str] = []
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag == "link" and given.get("rel") != "canonical":
            self.loaded.append(given.get("href", ""))
        if "src" in given:
            self.loaded.append(given["src"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html")}


@pytest.mark.slow
def test_every_link_and_anchor_within_the_site_holds(site: Path, pages: dict[Path, Page]) -> None:
    assert len(pages) > 20
    for path, page in pages.items():
        if path.name == "404.html":  # its links are from the server's root
            continue
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                assert parts.scheme in ("https", "http"), link
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert target.is_file(), f"{path.relative_to(site)}: {link}"
            if parts.fragment and target in pages:
                anchors = pages[target].anchors
                assert unquote(parts.fragment) in anchors, f"{path.relative_to(site)}: {link}"


@pytest.mark.slow
def test_no_page_loads_anything_from_elsewhere(pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        assert page.loaded
        for address in page.loaded:
            assert not urlsplit(address).netloc, f"{path.name} loads {address}"


@pytest.mark.slow
def test_search_works_from_a_folder(site: Path) -> None:
    index = (site / "search" / "search_index.js").read_text()
    assert index.startswith("var __index")
    assert "budget_kgco2e" in index
    assert "IFrameWorker" in (site / "assets" / "iframe-worker.js").read_text()


@pytest.mark.slow
def test_every_command_is_in_the_reference(site: Path) -> None:
    text = (site / "reference" / "commands.html").read_text()
    for verb in VERBS:
        assert f'id="carbon-train-{verb}"' in text, verb
    assert "--budget-kgco2e" in text
    assert "Sentinel" not in text


@pytest.mark.slow
def test_every_setting_is_in_the_reference_under_a_heading(site: Path) -> None:
    text = (site / "reference" / "settings.html").read_text()
    first = text.index("<h2")
    for name in RunConfig.model_fields:
        assert text.index(f"<td><code>{name}</code>") > first, name
    assert "<!-- settings -->" not in text


@pytest.mark.slow
def test_every_setting_of_callbacks_is_in_their_reference(site: Path) -> None:
    text = (site / "reference" / "callbacks.html").read_text()
    for name in RunSettings.__annotations__:
        assert f"<td><code>{name}</code>" in text, name


@pytest.mark.slow
def test_every_provider_is_told_with_what_it_needs(site: Path) -> None:
    text = (site / "carbon-intensity.html").read_text()
    for info in infos():
        assert f"<td><code>{info.name}</code></td>" in text
        for key in info.keys:
            assert f"<code>{key}</code>" in text


def test_every_form_of_a_report_is_told() -> None:
    text = (ROOT / "docs" / "reports.md").read_text()
    for name in FORMATS:
        assert f"`{name}`" in text, name


@pytest.mark.slow
def test_every_public_name_is_in_the_reference(pages: dict[Path, Page], site: Path) -> None:
    names = [f"carbon_trainer.{name}" for name in carbon_trainer.__all__ if name[0] != "_"]
    documented = pages[site / "reference" / "carbon_trainer.html"].anchors
    assert set(names) <= documented
    names = [f"carbon_trainer.callbacks.{name}" for name in callbacks.__all__]
    assert set(names) <= pages[site / "reference" / "callbacks.html"].anchors


@pytest.mark.slow
def test_files_to_download_are_there(site: Path) -> None:
    for name in ("grafana-dashboard.json", "postgresql-roles.sql"):
        assert (site / name).read_bytes() == (ROOT / "docs" / name).read_bytes()


def test_ci_builds_the_site() -> None:
    assert "mkdocs build --strict" in (ROOT / ".ci" / "run").read_text()
