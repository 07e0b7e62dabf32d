"""The worker step `Autoreloader`: new code without a restart of the worker."""

from bootsteps_worker_autoreloader.reloader import AUTORELOADER, Autoreloader

__all__ = ["AUTORELOADER", "Autoreloader"]
