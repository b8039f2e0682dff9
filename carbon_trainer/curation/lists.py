"""Lists that the user gives: of words, of what must be forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from carbon_trainer.errors import InputError


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Say in a sentence why a list cannot be read.

    Args:
        path: the list's.
        what: it is, such as ``block list``.

    Raises:
        InputError: if it cannot be.
    """
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"there is no {what} {path}.") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: convert it, e.g. with iconv.") from error
    except OSError as error:
        raise InputError(f"cannot read the {what} {path}: {error.strerror}.") from error
