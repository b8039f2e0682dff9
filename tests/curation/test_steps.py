"""Languages and licences: what is kept, and what is said of what is not known."""

from __future__ import annotations

import pytest

from carbon_trainer.curation.languages import Languages
from carbon_trainer.curation.licences import checked, spelled
from carbon_trainer.errors import InputError

SENTENCES = {
    "en": "The meter counts what the machines have used since this morning.",
    "de": "Der Zähler zählt, was die Maschinen seit heute Morgen verbraucht haben.",
    "fr": "Le compteur mesure ce que les machines ont consommé depuis ce matin.",
}


@pytest.fixture(scope="module")
def english_and_german() -> Languages:
    return Languages(["en", "DE"])


@pytest.mark.slow
@pytest.mark.parametrize("code", SENTENCES)
def test_a_language_is_told_though_it_is_not_one_of_the_kept(
    english_and_german: Languages, code: str
) -> None:
    assert english_and_german.of(SENTENCES[code]) == code
    assert english_and_german.keeps(code) is (code != "fr")


def test_what_is_in_no_language_is_undetermined(english_and_german: Languages) -> None:
    assert english_and_german.of("1 + 2 = 3; 4 * 5") == "und"


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(InputError, match="'eng' is no ISO 639-1 code"):
        Languages(["eng"])


def test_licences_are_spelled_as_spdx_does() -> None:
    assert checked(["mit", "cc-by-4.0", "LicenseRef-ours"], "--licences") == {
        "MIT", "CC-BY-4.0", "LicenseRef-ours",
    }  # fmt: skip
    assert spelled("apache-2.0") == "Apache-2.0"
    assert spelled("a letter from the author") == "a letter from the author"
    assert spelled(None) == "not stated"


def test_an_unknown_licence_is_refused_and_the_nearest_named() -> None:
    with pytest.raises(InputError, match=r"--licences: 'Apache-2' is no SPDX.*Apache-2\.0"):
        checked(["Apache-2"], "--licences")
