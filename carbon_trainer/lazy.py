"""Packages that import their public names when these are first used.

Importing a package is quick then, whatever its names need: torch, Lightning and pandas take
seconds.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Mapping
from typing import Any


def lazy_names(
    package: str, names: Mapping[str, Collection[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` for a package (PEP 562).

    The package lists the same names in ``__all__`` and imports them under ``TYPE_CHECKING``: type
    checkers and the documentation read the code without running it.

    Args:
        package: the package's name.
        names: as in import statements: what is imported from each module, ``verify as verify_run``
            where it has another name there; from the package itself, its public modules.
    """
    homes: dict[str, tuple[str, str]] = {}
    for module, imports in names.items():
        for text in imports:
            name, _, alias = text.partition(" as ")
            homes[alias or name] = module, name

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, attribute = homes[name]
        if module == package:
            return importlib.import_module(f"{package}.{attribute}")
        return getattr(importlib.import_module(module), attribute)

    return get, lambda: sorted(homes)
