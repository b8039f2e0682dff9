"""Reading lists that the user supplies: block lists and removal lists."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from carbon_trainer.errors import InputError


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Turn errors of reading a list in this context into InputErrors.

    Args:
        path: the list's file.
        kind: what it is, for people, such as ``block list``.

    Raises:
        InputError: if it cannot be read.
    """
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"there is no {kind} {path}.") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: convert it, e.g. with iconv.") from error
    except OSError as error:
        raise InputError(f"cannot read the {kind} {path}: {error.strerror}.") from error
