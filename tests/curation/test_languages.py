"""Languages of texts: which are detected, and which are kept."""

from __future__ import annotations

import pytest

from carbon_trainer.curation.languages import LanguageDetector
from carbon_trainer.errors import InputError

SENTENCES = {
    "en": "The meter counts what the machines have used since this morning.",
    "de": "Der Zähler zählt, was die Maschinen seit heute Morgen verbraucht haben.",
    "fr": "Le compteur mesure ce que les machines ont consommé depuis ce matin.",
}


@pytest.fixture(scope="module")
def english_and_german() -> LanguageDetector:
    return LanguageDetector(["en", "DE"])


@pytest.mark.slow
@pytest.mark.parametrize("code", SENTENCES)
def test_a_language_is_detected_though_it_is_not_kept(
    english_and_german: LanguageDetector, code: str
) -> None:
    assert english_and_german.detect(SENTENCES[code]) == code
    assert english_and_german.allows(code) is (code != "fr")


def test_what_is_in_no_language_is_undetermined(english_and_german: LanguageDetector) -> None:
    assert english_and_german.detect("1 + 2 = 3; 4 * 5") == "und"


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(InputError, match="'eng' is not the ISO 639-1 code"):
        LanguageDetector(["eng"])
