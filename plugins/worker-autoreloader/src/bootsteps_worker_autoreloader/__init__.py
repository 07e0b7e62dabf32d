"""The worker step `Autoreloader`: new code without a restart of the worker."""

from typing import TYPE_CHECKING

from bootsteps.lazy import lazily
from bootsteps_worker_autoreloader.keys import AUTORELOADER

if TYPE_CHECKING:
    from bootsteps_worker_autoreloader.reloader import Autoreloader

__all__ = ["AUTORELOADER", "Autoreloader"]

__getattr__ = lazily(__name__, {"Autoreloader": "reloader"})
