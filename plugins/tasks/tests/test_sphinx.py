from __future__ import annotations

import html
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJ = '''
"""A module of tasks."""
from bootsteps_tasks import App

app = App("proj")


@app.task
def add(x: int, y: int = 0) -> int:
    """Add two numbers."""
    return x + y


@app.task(bind=True, queue="slow")
def grow(self, height: float) -> None:
    """Make it taller.

    Takes *long*.
    """


def helper() -> None:
    """An ordinary function."""
'''
INDEX = """
Tasks
=====

.. automodule:: proj
   :members:

One more time
-------------

.. autotask:: proj.add
   :no-index:
"""


def test_sphinx_documents_tasks_with_their_parameters_and_docstrings(tmp_path: Path) -> None:
    pytest.importorskip("sphinx", reason="pip install sphinx")
    source = tmp_path / "source"
    source.mkdir()
    (source / "proj.py").write_text(PROJ)
    (source / "index.rst").write_text(INDEX)
    (source / "conf.py").write_text(
        f"import sys\nsys.path.insert(0, {str(source)!r})\nproject = 'proj'\n"
        "extensions = ['sphinx.ext.autodoc', 'bootsteps_tasks.sphinx_ext']\n"
    )
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", str(source), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = " ".join(html.unescape(re.sub(r"<[^>]+>", "", (tmp_path / "out" / "index.html").read_text())).split())
    assert text.count("(task) proj.add(x: int, y: int = 0) → int") == 2
    assert text.count("Add two numbers.") == 2
    assert "(task) proj.grow(height: float) → None" in text
    assert "Make it taller. Takes long." in text
    assert "proj.helper() → None" in text
