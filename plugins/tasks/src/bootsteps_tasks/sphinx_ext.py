"""An extension for Sphinx: autodoc documents tasks as it does functions, with their parameters and docstrings.

In `conf.py`: `extensions = ["sphinx.ext.autodoc", "bootsteps_tasks.sphinx_ext"]`. The setting `autotask_prefix` is what
stands before their names, `(task)` by default. One task: `.. autotask:: proj.tasks.add`; by hand: `.. py:task::`.
"""

from __future__ import annotations

from typing import Any

from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.domains.python import PyFunction
from sphinx.ext.autodoc import FunctionDocumenter
from sphinx.util.inspect import stringify_signature

from bootsteps_tasks.task import Task

__all__ = ["setup"]


class TaskDocumenter(FunctionDocumenter):
    """Documents a task by the function that it runs."""

    objtype = "task"
    member_order = 11

    @classmethod
    def can_document_member(cls, member: Any, membername: str, isattr: bool, parent: Any) -> bool:
        """Tell whether it is a task."""
        return isinstance(member, Task)

    def format_args(self, **kwargs: Any) -> str:
        """Return the parameters that `delay` takes."""
        return stringify_signature(self.object.signature_of_run, **kwargs).replace("\\", "\\\\")

    def get_doc(self) -> list[list[str]] | None:
        """Return the lines of the function's docstring."""
        documented, self.object = self.object, self.object.run
        try:
            return super().get_doc()
        finally:
            self.object = documented

    def check_module(self) -> bool:
        """Tell whether the module that is documented is the one in which the task was declared."""
        return bool(self.object.__module__ == self.modname)


class TaskDirective(PyFunction):
    """`.. py:task:: add(x, y)`"""

    def get_signature_prefix(self, sig: str) -> Any:
        """Return what stands before the name."""
        prefix = self.env.config.autotask_prefix
        return [addnodes.desc_sig_keyword(prefix, prefix), addnodes.desc_sig_space()] if prefix else []


def setup(app: Sphinx) -> dict[str, Any]:
    """What Sphinx calls."""
    app.setup_extension("sphinx.ext.autodoc")
    app.add_autodocumenter(TaskDocumenter)
    app.add_directive_to_domain("py", "task", TaskDirective)
    app.add_config_value("autotask_prefix", "(task)", "env")
    return {"parallel_read_safe": True}
