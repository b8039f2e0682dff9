"""Licences by their SPDX names: which are accepted, and how they are written."""

from __future__ import annotations

import pytest

from carbon_trainer.curation.licences import check_licences, normalize
from carbon_trainer.errors import InputError


def test_licences_are_spelled_as_spdx_does() -> None:
    assert check_licences(["mit", "cc-by-4.0", "LicenseRef-ours"], "--licences") == {
        "MIT", "CC-BY-4.0", "LicenseRef-ours",
    }  # fmt: skip
    assert normalize("apache-2.0") == "Apache-2.0"
    assert normalize("a letter from the author") == "a letter from the author"
    assert normalize(None) == "not stated"


def test_an_unknown_licence_is_refused_and_the_nearest_named() -> None:
    with pytest.raises(InputError, match=r"--licences: 'Apache-2' is not an SPDX.*Apache-2\.0"):
        check_licences(["Apache-2"], "--licences")
