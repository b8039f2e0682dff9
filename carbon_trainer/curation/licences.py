"""Licences by their SPDX names (https://spdx.org/licenses), as ``packaging`` knows them."""

from __future__ import annotations

from collections.abc import Iterable

from carbon_trainer.errors import InputError, did_you_mean

NOT_STATED = "not stated"


def spdx(text: str) -> str | None:
    """Return a licence as SPDX spells it; None where it is no SPDX name or expression."""
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    try:
        return str(canonicalize_license_expression(text))
    except InvalidLicenseExpression:
        return None


def checked(names: Iterable[str], where: str) -> frozenset[str]:
    """Return licences as SPDX spells them.

    Args:
        names: what the user wrote.
        where: the flag or file that it was written in.

    Raises:
        InputError: if one is not known.
    """
    found = {}
    for name in names:
        found[name] = spdx(name)
        if found[name] is None:
            hint = did_you_mean(name, _known()) or " Others are written LicenseRef-NAME."
            raise InputError(f"{where}: {name!r} is no SPDX licence.{hint}")
    return frozenset(name for name in found.values() if name)


def _known() -> list[str]:
    from packaging.licenses import _spdx  # the list has no public name; only for the hint

    return [licence["id"] for licence in _spdx.LICENSES.values()]


def spelled(text: str | None) -> str:
    """Return a document's licence as SPDX spells it, or as it stands there, or that it does not."""
    return NOT_STATED if not text else spdx(text) or text
