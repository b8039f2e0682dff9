"""Libraries that only some steps need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from carbon_trainer.errors import InputError


@contextmanager
def needs_extra(flag: str) -> Iterator[None]:
    """Turn a failed import in this context into advice on what to install.

    Raises:
        InputError: names the flag that needs the library.
    """
    try:
        yield
    except ImportError as error:
        raise InputError(
            f"{flag} needs {error.name or 'a library'}, which is not installed: "
            "pip install 'carbon-trainer[data]'."
        ) from error
