"""Public names are imported when they are first used, and only those."""

from __future__ import annotations

import os.path

import pytest

from carbon_trainer.lazy import lazy_names


def test_names_aliases_and_modules_are_found() -> None:
    get, names = lazy_names("os", {"os": ["path"], "os.path": ["join", "split as split_path"]})
    assert names() == ["join", "path", "split_path"]
    assert get("path") is os.path
    assert get("join") is os.path.join
    assert get("split_path") is os.path.split


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    get, _ = lazy_names("os", {"os.path": ["join"]})
    with pytest.raises(AttributeError, match="module 'os' has no attribute 'split'"):
        get("split")
