"""Angles on a row's slots: how they are written, drawn and turned into text."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbon_trainer.data.slots import (
    default_angles,
    draw,
    fields_of_slots,
    options_text,
    parse_angles,
)
from carbon_trainer.errors import InputError

ROW = {
    "Q": "What do bees make?",
    "A": "honey",
    "M": "(A) honey (B) silk",
    "E": "They dry nectar.",
}


def _refusal(text: str) -> str:
    with pytest.raises(InputError) as caught:
        parse_angles(text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_output_slots_are_named_before_input_slots_as_in_macaw() -> None:
    (angle,) = parse_angles("QM->AE")
    assert angle.source(ROW) == (
        "$answer$ ; $explanation$ ; $question$ = What do bees make? ; "
        "$mcoptions$ = (A) honey (B) silk"
    )
    assert angle.target(ROW) == "$answer$ = honey ; $explanation$ = They dry nectar."


def test_angles_are_read_in_any_case_with_any_space_and_either_arrow() -> None:
    assert list(map(str, parse_angles(" qm -> a,A→QE , "))) == ["QM->A", "A->QE"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (" , ", "lists no angle"),
        ("QMA", "'QMA', which is not an angle"),
        ("->A", "which is not an angle"),
        ("Q->", "which is not an angle"),
        ("Q->A->E", "there is no slot '-'"),
        ("QX->A", "there is no slot 'X': slots are Q (question), A (answer), M (mcoptions)"),
        ("QA->A", "has a slot twice"),
    ],
)
def test_what_is_no_angle_is_refused_in_a_sentence(text: str, message: str) -> None:
    assert message in _refusal(text)


def test_an_unknown_slot_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"slot 'anser'; slots are .* Did you mean answer"):
        fields_of_slots({"anser": "gold"})


def test_a_slots_field_has_its_name_by_default() -> None:
    fields = fields_of_slots({"question": "stem"})
    assert fields == {
        "Q": "stem", "A": "answer", "M": "mcoptions", "E": "explanation", "C": "context",
    }  # fmt: skip


def test_by_default_inputs_have_a_question_and_outputs_an_answer_or_explanation() -> None:
    assert len(set(default_angles())) == 16
    assert all("Q" in angle.inputs for angle in default_angles())
    assert {angle.outputs for angle in default_angles()} == {"A", "E", "AE"}


@given(st.integers(0, 2**32 - 1), st.integers(0, 10**9))
def test_a_row_is_always_seen_from_the_same_angle_and_only_from_one_that_it_has_slots_for(
    seed: int, number: int
) -> None:
    row = {letter: ROW[letter] for letter in "QAM"}
    angle = draw(default_angles(), row, seed=seed, number=number)
    assert angle == draw(default_angles(), row, seed=seed, number=number)
    assert str(angle) in {"Q->A", "QM->A"}


def test_angles_are_drawn_evenly_and_one_that_stands_twice_twice_as_often() -> None:
    angles = parse_angles("Q->A, QM->A, QM->A")
    drawn = Counter(str(draw(angles, ROW, seed=1, number=number)) for number in range(3000))
    assert drawn["Q->A"] == pytest.approx(1000, abs=100)
    assert drawn["QM->A"] == pytest.approx(2000, abs=100)


def test_another_seed_draws_otherwise() -> None:
    drawn = [
        [draw(default_angles(), ROW, seed=seed, number=number) for number in range(50)]
        for seed in (1, 2)
    ]
    assert drawn[0] != drawn[1]


def test_a_row_that_fits_no_angle_gets_none() -> None:
    assert draw(parse_angles("QC->A"), ROW, seed=1, number=0) is None


def test_options_get_letters() -> None:
    assert options_text(["honey", " silk "]) == "(A) honey (B) silk"
