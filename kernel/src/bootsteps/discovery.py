"""Discovery: which plugins are installed, told from metadata alone; and their import, later.

`importlib_metadata` is the reference. A reader of `entry_points.txt` stands in front of it where `sys.path` holds plain
folders only, which is nearly always, and costs a tenth. A test compares the two.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, cached_property
from importlib import import_module
from typing import NamedTuple

from bootsteps.errors import KernelError, LoadError, UnknownName, did_you_mean

__all__ = ["GROUPS", "Broken", "Catalogue", "Plugin", "scan", "scan_once"]

#: The groups that the kernel reads, beside one `<name>.steps` for each blueprint.
GROUPS = (
    *("worker.commands", "kernel.commands", "kernel.hooks", "kernel.backends", "kernel.transports"),
    *("app.attributes", "kernel.quick"),
)


class Plugin(NamedTuple):
    """One installed entry point. Nothing is imported until `load`."""

    group: str
    name: str
    value: str
    dist: str
    version: str
    #: Another distribution of this name comes first on `sys.path`, so this one is never used.
    shadowed: bool = False

    def __str__(self) -> str:
        return f"{self.group}:{self.name} ({self.dist} {self.version})"

    def load(self) -> object:
        """Import it. Raises `LoadError`."""
        module, _, attributes = self.value.partition(":")
        try:
            found: object = import_module(module.strip())
            for attribute in filter(None, attributes.strip().split(".")):
                found = getattr(found, attribute)
        except (Exception, SystemExit) as exc:  # a module that calls sys.exit() must not end the program in silence
            what = f"plugin {self.name!r} cannot be loaded from {self.value!r}: {type(exc).__name__}: {exc}"
            fix = f"mend or uninstall {self.dist}, or go on without it: --without {self.name}"
            raise LoadError(what, (str(self),), fix) from exc
        return found

    def answers_to(self, name: str) -> bool:
        """Tell whether `--without name` means this plugin."""
        return name in (self.name, f"{self.group}:{self.name}", self.dist)


class Broken(NamedTuple):
    """A plugin that is installed and cannot be used."""

    plugin: Plugin
    error: KernelError


class Catalogue:
    """What is installed, less what is switched off. One scan; each plugin is imported at most once."""

    def __init__(self, plugins: Iterable[Plugin], without: Sequence[str] = ()) -> None:
        self.installed = tuple(sorted(plugins))
        self.without = tuple(without)
        self._loaded: dict[Plugin, object] = {}

    @cached_property
    def plugins(self) -> tuple[Plugin, ...]:
        """The plugins that are neither switched off nor shadowed."""
        return tuple(filter(self.usable, self.installed))

    def usable(self, plugin: Plugin) -> bool:
        """Tell whether the plugin is neither switched off nor shadowed."""
        return not plugin.shadowed and not self.disabled(plugin)

    def disabled(self, plugin: Plugin) -> str:
        """Return the name in `without` by which the plugin is switched off, or nothing."""
        return next((name for name in self.without if plugin.answers_to(name)), "")

    def unknown_names(self, also: Iterable[str] = ()) -> list[UnknownName]:
        """Return a fault for each name in `without` that no plugin (and nothing in `also`) answers to."""
        known = {name for p in self.installed for name in (p.name, p.dist, f"{p.group}:{p.name}")} | set(also)
        return [
            UnknownName(
                f"no plugin is called {name!r}",
                (f"--without {name}",),
                did_you_mean(name, known) or "kernel plugins list",
            )
            for name in self.without
            if name not in known
        ]

    def group(self, group: str) -> list[Plugin]:
        """Return the usable plugins of a group, by name."""
        return [plugin for plugin in self.plugins if plugin.group == group]

    def load(self, plugin: Plugin) -> object | Broken:
        """Import a plugin, or return what is wrong with it."""
        if plugin not in self._loaded:
            try:
                self._loaded[plugin] = plugin.load()
            except LoadError as exc:
                self._loaded[plugin] = Broken(plugin, exc)
        return self._loaded[plugin]


def scan(path: Sequence[str] | None = None) -> list[Plugin]:
    """Return the installed plugins of our groups, sorted; the same for every order of `path` but for shadowing.

    The current directory is never searched: what lies where a program is started must not join it.
    """
    entries = [entry for entry in (sys.path if path is None else path) if _is_installed(entry)]
    found = list(_read(entries)) if all(map(_is_plain, entries)) and _finders_are_known() else list(_ask(entries))
    return sorted(found)


def scan_once() -> list[Plugin]:
    """Return what `scan` found when it was first asked for this `sys.path`: what is installed later is not seen."""
    return list(_scanned(tuple(filter(_is_installed, sys.path))))


@cache
def _scanned(path: tuple[str, ...]) -> tuple[Plugin, ...]:
    return tuple(scan(path))


def _is_installed(entry: str) -> bool:
    return bool(entry) and os.path.abspath(entry) != os.getcwd()


def _is_plain(entry: str) -> bool:
    if not os.path.isdir(entry):
        return not os.path.exists(entry)
    return not any(name.endswith((".egg-info", ".egg")) for name in os.listdir(entry))


def _finders_are_known() -> bool:
    ours = ("importlib", "_frozen_importlib", "six", "__editable__", "_distutils_hack")
    foreign = [f for f in sys.meta_path if hasattr(f, "find_distributions")]
    modules = (getattr(f, "__module__", "") or type(f).__module__ for f in foreign)
    return all(module.startswith(ours) for module in modules)


def _wanted(group: str) -> bool:
    return group in GROUPS or (group.endswith(".steps") and group.count(".") == 1)


def _read(entries: Iterable[str]) -> Iterator[Plugin]:
    seen: set[str] = set()
    for entry in dict.fromkeys(entries):
        for folder in _dist_infos(entry):
            dist, _, version = os.path.basename(folder).removesuffix(".dist-info").partition("-")
            name = _canonical(dist)
            for group, point, value in _entry_points(os.path.join(folder, "entry_points.txt")):
                yield Plugin(group, point, value, name, version, shadowed=name in seen)
            seen.add(name)


def _dist_infos(entry: str) -> list[str]:
    try:
        return [e.path for e in os.scandir(entry) if e.name.endswith(".dist-info")]
    except OSError:
        return []


def _entry_points(path: str) -> Iterator[tuple[str, str, str]]:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except OSError:
        return
    if ".steps]" not in text and not any(f"[{group}]" in text for group in GROUPS):
        return
    group = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            group = line[1:-1]
        elif "=" in line and not line.startswith("#") and _wanted(group):
            name, _, value = line.partition("=")
            yield group, name.strip(), re.sub(r"\s*\[.*\]$", "", value.strip())


def _ask(entries: list[str]) -> Iterator[Plugin]:
    import importlib_metadata

    seen: set[str] = set()
    for dist in importlib_metadata.distributions(path=entries):
        name = _canonical(dist.metadata["Name"])
        for point in dist.entry_points:
            if _wanted(point.group):
                value = f"{point.module}:{point.attr}" if point.attr else point.module
                yield Plugin(point.group, point.name, value, name, dist.version, shadowed=name in seen)
        seen.add(name)


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
