"""A setting as it is shown: its value without secrets, and where that came from."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from bootsteps import Setting, SettingError, Settings
from bootsteps_tasks.showing import MASK, shown

__all__ = ["Row", "row_of"]


class Row(NamedTuple):
    """One setting."""

    name: str
    #: As JSON can hold it, and without secrets.
    value: Any
    #: `command line`, `KERNEL_X`, `FILE:LINE`, `application` or `default`.
    source: str
    default: Any
    #: The distribution whose part reads it.
    owner: str
    help: str

    @property
    def text(self) -> str:
        """The value in one line."""
        return self.value if isinstance(self.value, str) else json.dumps(self.value, default=str)


def row_of(settings: Settings, setting: Setting[Any], owner: str) -> Row:
    """Return one setting's row; a value of a wrong type is shown as it was written."""
    try:
        value = settings.get(setting)
    except SettingError:
        value = settings.given(setting.name)
    default = _visible(setting, setting.default)
    return Row(setting.name, _visible(setting, value), settings.source(setting.name), default, owner, setting.help)


def _visible(setting: Setting[Any], value: Any) -> Any:
    found = shown(setting.name, value)
    secret = setting.secret and value is not None and "://" not in str(value)
    return MASK if secret else found
