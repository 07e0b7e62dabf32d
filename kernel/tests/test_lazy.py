"""Names that are imported when they are asked for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    folder = tmp_path / "lazy_package"
    folder.mkdir()
    text = 'from bootsteps.lazy import lazily\n__getattr__ = lazily(__name__, {"Thing": "things"})\n'
    (folder / "__init__.py").write_text(text)
    (folder / "things.py").write_text("class Thing: ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder.name


def test_a_name_is_imported_when_it_is_asked_for(package: str) -> None:
    made = __import__(package)
    assert f"{package}.things" not in sys.modules
    assert made.Thing.__module__ == f"{package}.things"
    assert vars(made)["Thing"] is made.Thing, "the second time it is not searched for"


def test_another_name_is_an_error_as_ever(package: str) -> None:
    with pytest.raises(AttributeError, match="module 'lazy_package' has no attribute 'Other'"):
        __import__(package).Other  # noqa: B018
