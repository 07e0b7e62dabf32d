"""Made-up distributions: folders with metadata that discovery reads like any installed one."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

MakeDist = Callable[..., Path]


@pytest.fixture
def make_dist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeDist]:
    """Return a function that installs a distribution: name, entry points by group, modules by name."""
    made: list[str] = []

    def make(
        name: str, points: Mapping[str, Mapping[str, str]], modules: Mapping[str, str] = {}, *, version: str = "1.0",
        folder: str = "site",
    ) -> Path:  # fmt: skip
        site = tmp_path / folder
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: made up\n")
        groups = (
            f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in entries.items()) for group, entries in points.items()
        )
        (info / "entry_points.txt").write_text("\n".join(groups))
        for module, text in modules.items():
            (site / f"{module}.py").write_text(text)
            made.append(module)
        if str(site) not in sys.path:
            monkeypatch.syspath_prepend(str(site))
        importlib.invalidate_caches()
        return site

    yield make
    for module in made:
        sys.modules.pop(module, None)
