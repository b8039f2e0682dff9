from __future__ import annotations

import pytest

from carbon_trainer.reports.figures.figure import Figure, linear_sum, root_sum_square, weakest
from carbon_trainer.reports.figures.text import (
    duration_text,
    figure_text,
    number_text,
    plus_minus,
    slug,
)
from carbon_trainer.reports.render.templating import markdown_text


def figure(value, sigma=0.0, unit="kWh"):
    return Figure(
        key="k", label="l", value=value, unit=unit, method="measured", sigma=sigma, basis="b"
    )


@pytest.mark.parametrize(
    ("value", "sigma", "text"),
    [
        (1.2345, 0.067, "1.234 ± 0.067"),
        (12345.6, 1234.5, "12,346 ± 1,234"),
        (0.0, 0.5, "0.00 ± 0.50"),
        (1.0, 1e-12, "1.00000 ± 0.00000"),
        (3.14159, 0, "3.142"),
    ],
)
def test_sigma_has_two_digits_and_the_value_goes_as_far(value, sigma, text):
    assert plus_minus(value, sigma) == text


def test_a_figure_is_written_in_the_unit_that_fits():
    assert figure_text(figure(0.0124, 0.0006)) == "12.40 ± 0.60 Wh"
    assert figure_text(figure(2_500.0, 100.0)) == "2.50 ± 0.10 MWh"
    assert figure_text(figure(None)) == "missing"
    assert figure_text(figure(1.0, None)) == "1 kWh ± missing"
    assert figure_text(figure(1234567, 0, "tokens")) == "1,234,567 tokens"


def test_a_figure_can_be_written_in_the_unit_of_another():
    assert figure_text(figure(0.5, 0.1), like=figure(20.0)) == "0.50 ± 0.10 kWh"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (8.41, "8.41 s"), (192, "3 min 12 s"), (7200, "2 h"), (200_000, "2 d 7 h")],
)
def test_lengths_of_time_are_short(seconds, text):
    assert duration_text(seconds) == text


def test_numbers_have_no_exponent():
    assert number_text(1.5e-7) == "0.00000015"
    assert number_text(123456.7) == "123,457"


def test_the_weakest_part_names_the_whole():
    assert weakest(["measured", "as given"]) == "estimated"
    assert weakest(["measured", "guessed by someone"]) == "assumed"
    assert weakest([]) == "missing"


def test_an_unknown_sigma_leaves_the_whole_unknown():
    assert root_sum_square([3.0, 4.0]) == 5.0
    assert linear_sum([3.0, 4.0]) == 7.0
    assert root_sum_square([3.0, None]) is None
    assert linear_sum([None]) is None


def test_markdown_cannot_be_smuggled_in():
    assert markdown_text("a|b\nc") == r"a\|b c"
    assert markdown_text("# x") == r"\# x"
    assert markdown_text("- x") == r"\- x"
    assert markdown_text("1. x") == r"1\. x"
    assert markdown_text("<b>") == r"\<b\>"
    assert markdown_text("http://x www.y a@b") == r"http\://x www\.y a\@b"


def test_keys_are_safe():
    assert slug("<script>alert(1)</script>") == "script-alert-1-script"
    assert slug("|||") == "other"
