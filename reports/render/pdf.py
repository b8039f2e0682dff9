"""A report as PDF: its HTML page, printed."""

from __future__ import annotations

import re

from carbon_trainer.errors import InputError


def pdf(html: str) -> bytes:
    """Print a page.

    Raises:
        InputError: if WeasyPrint or a library that it needs is not installed.
    """
    try:
        from weasyprint import HTML
    except (ImportError, OSError) as error:
        # WeasyPrint raises OSError where Pango is not on the system.
        raise InputError(
            "PDF needs WeasyPrint and Pango: pip install 'carbon-trainer[pdf]', and libpango of "
            "the system; or print the HTML report from a browser."
        ) from error
    return bytes(HTML(string=_with_colours(html), url_fetcher=_refuse_fetch).write_pdf())


def _with_colours(html: str) -> str:
    """Put the page's light colours into its drawings: WeasyPrint knows no variables in SVG."""
    colours = dict(re.findall(r"(--[\w-]+):\s*([^;}]+)", html[: html.find("}")]))

    def drawing(match: re.Match[str]) -> str:
        return re.sub(r"var\((--[\w-]+)\)", lambda m: colours.get(m[1], "currentColor"), match[0])

    return re.sub(r"<svg.*?</svg>", drawing, html, flags=re.DOTALL)


def _refuse_fetch(url: str, **_: object) -> dict[str, object]:
    """Refuse to fetch: a report asks for nothing but itself."""
    raise ValueError(f"a report does not ask for {url}")
