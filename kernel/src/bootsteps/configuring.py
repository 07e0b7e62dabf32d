"""Settings from a module or a file: what `--config` and `app.config_from_object` read."""

from __future__ import annotations

import importlib
import re
import runpy
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from bootsteps.app import search_here
from bootsteps.errors import KernelError, LoadError, SettingError

__all__ = ["read", "values_of"]

#: The table of a TOML file that holds the settings; without it they stand at the top level.
TABLE = "bootsteps"
#: How names of an older Celery begin, which no module has by chance: they are settings too, and refused by name.
OLD = re.compile(r"(CELERY|CELERYD|CELERYBEAT|BROKER)_[A-Z]")


def read(spec: str) -> dict[str, tuple[Any, str]]:
    """Return the settings that `MODULE`, `FILE.py` or `FILE.toml` holds, each with its place: `FILE:LINE`.

    Raises `KernelError` when it is not there or cannot be read.
    """
    if spec.endswith(".toml"):
        values, text = _toml(spec)
    elif spec.endswith(".py") or "/" in spec:
        values, text = _script(spec)
    else:
        module = _module(spec)
        file = getattr(module, "__file__", None)
        values, text = values_of(module), Path(file).read_text(encoding="utf-8") if file else ""
        spec = file or spec
    return {name: (value, _place(spec, name, text)) for name, value in values.items() if value is not None}


def values_of(source: Any, namespace: str = "") -> dict[str, Any]:
    """Return the settings in a mapping, an object or a module that is named. Raises `LoadError`."""
    found = source if isinstance(source, Mapping) else vars(_module(source) if isinstance(source, str) else source)
    if not namespace:
        return {name: value for name, value in found.items() if _is_setting(name, value)}
    prefix = f"{namespace}_".upper()
    return {name.removeprefix(prefix).lower(): value for name, value in found.items() if name.startswith(prefix)}


def _is_setting(name: str, value: Any) -> bool:
    """Tell settings from what a module imports and from the helpers that it defines."""
    if isinstance(value, ModuleType) or (isinstance(value, FunctionType | type) and name == value.__name__):
        return False
    return OLD.match(name) is not None or (name.islower() and not name.startswith("_"))


def _module(name: str) -> ModuleType:
    search_here()
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as exc:
        what = f"the settings' module {name!r} cannot be imported: {type(exc).__name__}: {exc}"
        raise LoadError(what, (f"--config {name}",), "a module's name, or a file that ends in .py or .toml") from exc


def _script(spec: str) -> tuple[dict[str, Any], str]:
    text = _text(spec)
    try:
        found = runpy.run_path(spec)
    except (Exception, SystemExit) as exc:
        what = f"the settings' file {spec} cannot be run: {type(exc).__name__}: {exc}"
        raise LoadError(what, (f"--config {spec}",), f"python {spec} shows where") from exc
    return values_of(found), text


def _toml(spec: str) -> tuple[dict[str, Any], str]:
    text = _text(spec)
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise SettingError(f"{spec} is no TOML: {exc}", (f"--config {spec}",), "strings need quotes") from exc
    table = found.get(TABLE, found)
    if not isinstance(table, Mapping):
        what = f"{TABLE} in {spec} is a {type(table).__name__}, not a table"
        raise SettingError(what, (f"--config {spec}",), f"[{TABLE}] before the settings")
    return dict(table), text


def _text(spec: str) -> str:
    try:
        return Path(spec).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise KernelError(f"the settings' file {spec} cannot be read: {reason}", (f"--config {spec}",)) from exc


def _place(file: str, name: str, text: str) -> str:
    """Return `FILE:LINE` of the last line that sets the name, `FILE` where none does so plainly."""
    found = [*re.finditer(rf'^\s*(?:\[(?:{TABLE}\.)?{name}\]|"?{name}"?\s*[:=])', text, re.MULTILINE)]
    if not found:
        return file
    at = found[-1].end()
    return f"{file}:{text.count(chr(10), 0, at) + 1}"
