"""Licences by their SPDX names (https://spdx.org/licenses), as ``packaging`` lists them."""

from __future__ import annotations

from collections.abc import Iterable

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from carbon_trainer.errors import InputError, did_you_mean

NOT_STATED = "not stated"


def to_spdx(text: str) -> str | None:
    """Return a licence in SPDX's spelling; None where it is not an SPDX name or expression."""
    try:
        return str(canonicalize_license_expression(text))
    except InvalidLicenseExpression:
        return None


def check_licences(names: Iterable[str], place: str) -> frozenset[str]:
    """Return licences in SPDX's spelling.

    Args:
        names: what the user wrote.
        place: the flag or file that it was written in, for messages.

    Raises:
        InputError: if one is unknown.
    """
    licences = set()
    for name in names:
        licence = to_spdx(name)
        if licence is None:
            hint = did_you_mean(name, _spdx_names()) or " Others are written LicenseRef-NAME."
            raise InputError(f"{place}: {name!r} is not an SPDX licence.{hint}")
        licences.add(licence)
    return frozenset(licences)


def _spdx_names() -> list[str]:
    # The list has no public name. Imported here, so that only the hint depends on it.
    from packaging.licenses import _spdx

    return [licence["id"] for licence in _spdx.LICENSES.values()]


def normalize(text: str | None) -> str:
    """Return a document's licence in SPDX's spelling, else as written; ``not stated`` if none."""
    return NOT_STATED if not text else to_spdx(text) or text
