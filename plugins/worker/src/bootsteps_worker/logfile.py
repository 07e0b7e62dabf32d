"""The log file."""

from __future__ import annotations

import os
from logging.handlers import WatchedFileHandler
from typing import Any

from bootsteps_worker.ours import Ours

__all__ = ["File"]


class File(WatchedFileHandler, Ours):
    """A file that only its owner reads. One that was moved away is made anew, so that `logrotate` needs no signal."""

    def _open(self) -> Any:
        return open(self.baseFilename, self.mode, encoding="utf-8", opener=lambda path, how: os.open(path, how, 0o600))
