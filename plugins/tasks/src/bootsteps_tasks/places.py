"""Where the broker and the results are: URLs, their plugins, and the embedded files."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from typing import Any

from bootsteps import Catalogue, KernelError
from bootsteps.discovery import Broken, scan_once
from bootsteps.errors import DuplicateName, MissingRequirement, UnknownName, did_you_mean

__all__ = ["catalogue", "default_url", "installed", "load_scheme", "mask_url", "scheme_of", "state_folder"]


def mask_url(url: str) -> str:
    """Return the URL (or several, parted by `;`) with each password as `**`."""
    return ";".join(map(_mask_one, re.split(r";(?=[\w+.-]+://)", url)))


def _mask_one(url: str) -> str:
    # To the last `@`: a password may hold any character that its owner forgot to quote.
    masked = re.sub(r"(://[^:@/?]*:).*@", r"\1**@", url, count=1, flags=re.DOTALL)
    return re.sub(r"([?&][^=&]*(?:pass|secret|token|key)[^=&]*=)[^&]*", r"\1**", masked, flags=re.IGNORECASE)


def scheme_of(url: str) -> str:
    """Return `redis` for `redis://...`, `db+sqlite` for `db+sqlite:///...`; a bare word is a scheme too."""
    return url.partition("://")[0]


def state_folder(main: str | None) -> Path:
    """Return the folder of an application's embedded files: one per user and application. It is not created here."""
    home = os.environ.get("XDG_STATE_HOME", "")
    base = Path(home) if os.path.isabs(home) else Path.home() / ".local" / "state"
    name = re.sub(r"[^\w.-]", "_", main or "default").lstrip(".")
    return base / "bootsteps" / (name or "default")


def default_url(main: str | None, file: str, setting: str) -> str:
    """Return the URL of an embedded file, as SQLAlchemy writes it: `sqlite:////absolute/path`.

    Raises `MissingRequirement` where the environment has Celery's variable for the `setting`: who comes from there
    means another place, and would look for his tasks in vain.
    """
    variable = f"CELERY_{setting.upper()}"
    if os.environ.get(variable):
        what = f"{setting} is not set, and {variable} in the environment, which is, is Celery's and not read here"
        fix = f'export KERNEL_{setting.upper()}="${variable}", or unset {variable}'
        raise MissingRequirement(what, (f"setting {setting!r}", f"application {main or 'default'!r}"), fix)
    return f"sqlite:///{state_folder(main) / file}"


@cache
def catalogue() -> Catalogue:
    """The installed plugins; one scan per process."""
    return Catalogue(scan_once())


def installed(group: str) -> set[str]:
    """Return the URL schemes that the plugins of a group bring."""
    return {plugin.name for plugin in catalogue().group(group)}


def load_scheme(group: str, scheme: str) -> Any:
    """Return what the scheme's plugin brings, None when there is none. One of `db` reads `db+...` too.

    Raises the plugin's `LoadError`, and `DuplicateName` when several bring it.
    """
    named = {scheme, scheme.partition("+")[0]}
    plugins = [plugin for plugin in catalogue().group(group) if plugin.name in named]
    plugins = [plugin for plugin in plugins if plugin.name == scheme] or plugins
    if not plugins:
        return None
    if len(plugins) > 1:
        what = f"{len(plugins)} plugins bring the scheme {scheme!r}"
        raise DuplicateName(what, tuple(map(str, plugins)), f"uninstall {plugins[-1].dist}")
    found = catalogue().load(plugins[0])
    if isinstance(found, Broken):
        raise found.error
    return found


def unknown_scheme(setting: str, url: str, known: set[str]) -> KernelError:
    """The error for a URL whose scheme nothing answers to."""
    scheme = scheme_of(url)
    what = f"{setting} {mask_url(url)!r} has the scheme {scheme!r}, and nothing installed reads it"
    near = did_you_mean(scheme, known)
    listed = f"one of {', '.join(sorted(known))}" if known else "install a plugin that does"
    return UnknownName(what, (f"setting {setting}",), f"{near} {listed}".strip())
