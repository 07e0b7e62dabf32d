"""The worker: its blueprint, its process and its program."""

from typing import TYPE_CHECKING

from bootsteps.lazy import lazily

if TYPE_CHECKING:
    from bootsteps_worker.controller import WorkController
    from bootsteps_worker.names import expand_path, node_name

__all__ = ["WorkController", "expand_path", "node_name"]

__getattr__ = lazily(__name__, {"WorkController": "controller", "expand_path": "names", "node_name": "names"})
