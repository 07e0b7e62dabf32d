"""What the commands of one call of `kernel` share: the application and the installed plugins."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import takewhile
from typing import Any

from bootsteps.app import ON_PLUGIN_ERROR, WITHOUT, App, find_app
from bootsteps.discovery import Catalogue, Plugin, scan_once
from bootsteps.errors import DuplicateName, UnknownName
from bootsteps.plan import Plan, candidates, installed_settings
from bootsteps.resolve import compose
from bootsteps.settings import Setting

__all__ = ["Declared", "Session"]

#: A setting, the distribution that declares it, and where, for messages.
Declared = tuple[Setting[Any], str, str]


class Session:
    """The object of click's context: `ctx.obj`."""

    def __init__(self) -> None:
        self.spec: str | None = None
        #: The module or file of settings: `--config`.
        self.config: str | None = None
        #: The folder in which the program was called.
        self.folder = os.getcwd()
        #: The answer only, without notes and banners: `--quiet`.
        self.quiet = False
        #: The values of options that are no settings, by name: those of `app.user_options`.
        self.extra: dict[str, Any] = {}
        self._without: tuple[str, ...] = ()
        self._on_plugin_error: str | None = None
        self._workdir: str | None = None
        self._app: App | None = None

    def take(
        self,
        app: str | None,
        without: Sequence[str],
        on_plugin_error: str | None,
        workdir: str | None = None,
        config: str | None = None,
    ) -> None:
        """Note what was given on the command line, before or after the command's name. Raises `UnknownName`."""
        if workdir and workdir != self._workdir:
            self._go_to(workdir)
        self.spec = app or self.spec
        self.config = config or self.config
        self._without += tuple(name for name in without if name not in self._without)
        self._on_plugin_error = on_plugin_error or self._on_plugin_error
        self.__dict__.pop("catalogue", None)

    def _go_to(self, folder: str) -> None:
        try:
            os.chdir(os.path.join(self.folder, folder))
        except OSError as exc:
            what = f"cannot go to the folder {folder!r}: {exc.strerror}"
            raise UnknownName(what, (f"--workdir {folder}",), "make it, or name another") from exc
        self._workdir = folder

    def words(self) -> list[str]:
        """Return what was taken as another call of the program takes it."""
        named = {"--app": self.spec, "--on-plugin-error": self._on_plugin_error, "--workdir": self._workdir}
        named["--config"] = self.config
        found = [f"{flag}={value}" for flag, value in named.items() if value]
        return found + [f"--without={name}" for name in self._without]

    def has_app(self) -> bool:
        """Tell whether an application is named, without importing it."""
        return self._app is not None or bool(self.spec or os.environ.get("KERNEL_APP"))

    def app(self) -> App:
        """Return the application that `-A` or KERNEL_APP names, or an empty one. Raises `KernelError`."""
        if self._app is None:
            spec = self.spec or os.environ.get("KERNEL_APP")
            self._app = find_app(spec) if spec else App()
            self._configure(self._app)
            self.__dict__.pop("catalogue", None)
            if self._on_plugin_error:
                self._app.conf.override({ON_PLUGIN_ERROR.name: self._on_plugin_error})
            if self._without:
                self._app.conf.override({WITHOUT.name: (*self._app.conf.get(WITHOUT), *self._without)})
        return self._app

    def _configure(self, app: App) -> None:
        config = self.config or os.environ.get("KERNEL_CONFIG")
        if config:
            from bootsteps.configuring import read

            app.conf.add_file(read(config))

    @cached_property
    def catalogue(self) -> Catalogue:
        """The installed plugins, less those that are switched off."""
        conf = self._app.conf if self._app else App().conf
        return Catalogue(self._installed, sorted({*conf.get(WITHOUT), *self._without}))

    @cached_property
    def _installed(self) -> list[Plugin]:
        return scan_once()

    def compose(self, blueprint: str = "worker", offers: Mapping[str, Sequence[str]] = {}) -> Plan:
        """Return the plan that would boot. Raises `BootError` with all faults."""
        app = self.app()
        quarantine = app.conf.get(ON_PLUGIN_ERROR) == "quarantine"
        return compose(app, self.catalogue, blueprint, quarantine=quarantine, offers=offers)

    def settings(self) -> list[tuple[Setting[Any], str]]:
        """Return each setting of the installed steps and of the application with the distribution that declares it.

        Raises `DuplicateName` when two claim one option.
        """
        return [(setting, owner) for setting, owner, _ in self.declared()]

    def declared(self) -> list[Declared]:
        """Return what `settings` does, and for messages where each is declared."""
        groups = {plugin.group for plugin in self.catalogue.plugins if plugin.group.endswith(".steps")}
        blueprints = {group.removesuffix(".steps") for group in groups} | set(self.app().steps)
        found = [(setting, "application", f"the application {self.app()!r}") for setting in self.app().settings]
        for blueprint in sorted(blueprints):
            for candidate in candidates(self.app(), self.catalogue, blueprint)[0]:
                owner = candidate.dist or "application"
                found += [(setting, owner, candidate.origin) for setting in candidate.settings]
        return _without_repeats(found)

    def elsewhere(self) -> list[Setting[Any]]:
        """Return the settings of steps that are installed, whether they take part or not."""
        return installed_settings(self.app(), self.catalogue)

    def options(self) -> dict[str, Any]:
        """Return the value of every option by its long flag's name, as steps get them in `__init__`."""
        conf = self.app().conf
        named = {option_name(setting): conf.get(setting) for setting, _ in self.settings() if setting.flags}
        return named | self.extra


def option_name(setting: Setting[Any]) -> str:
    """`--max-tasks-per-child` is `max_tasks_per_child`."""
    return max(setting.flags, key=len).lstrip("-").replace("-", "_")


def _without_repeats(found: list[Declared]) -> list[Declared]:
    kept: dict[int, Declared] = {}
    flags: dict[str, Declared] = {}
    owners: dict[int, set[str]] = defaultdict(set)
    for declared in found:
        setting, owner, origin = declared
        owners[id(setting)].add(owner)
        if kept.setdefault(id(setting), declared) is not declared:
            continue
        for flag in setting.flags:
            other, _, first = flags.setdefault(flag, declared)
            if other is not setting:
                whose = (f"setting {other.name!r} of {first}", f"setting {setting.name!r} of {origin}")
                raise DuplicateName(f"option {flag!r} is declared twice", whose, f"uninstall one, or --without {owner}")
    return [(setting, _all_of(owners[id(setting)]), origin) for setting, _, origin in kept.values()]


def _all_of(owners: set[str]) -> str:
    """Return one name for those who share a setting: `pool-*` for pool-a and pool-b."""
    first, *others = sorted(owners)
    if not others:
        return first
    words = zip(first.split("-"), others[-1].split("-"), strict=False)  # sorted: what these two share, all do
    stem = "-".join(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], words))
    return f"{stem}-*" if stem else f"{first} and others"
