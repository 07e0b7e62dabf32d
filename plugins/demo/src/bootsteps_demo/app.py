"""The example application: it reads Python files."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

from bootsteps_tasks import App

__all__ = ["Measure", "Summary", "app", "measure", "summarise"]

app = App("bootsteps-demo")

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Measure(TypedDict):
    """What one file holds."""

    path: str
    lines: int
    functions: int
    #: Name and number of lines; ["", 0] when there is no function.
    longest: tuple[str, int]
    #: The top-level modules that it imports.
    imports: list[str]


class Summary(TypedDict):
    """What all files hold together."""

    files: int
    lines: int
    functions: int
    #: (path, function, lines), longest first.
    longest: list[tuple[str, str, int]]
    #: (module, number of files that import it), most first.
    imports: list[tuple[str, int]]


@app.task
def measure(path: str) -> Measure:
    """Parse one Python file and measure it. Raises SyntaxError for one that cannot be parsed."""
    source = Path(path).read_bytes()
    tree = ast.parse(source, filename=path)
    functions = [node for node in ast.walk(tree) if isinstance(node, Function)]
    lengths = ((node.name, (node.end_lineno or node.lineno) - node.lineno + 1) for node in functions)
    return {
        "path": path,
        "lines": source.count(b"\n"),
        "functions": len(functions),
        "longest": max(lengths, key=lambda pair: pair[1], default=("", 0)),
        "imports": sorted(set(_imports(tree))),
    }


@app.task
def summarise(measures: list[Measure], top: int = 5) -> Summary:
    """Sum up; `top` is the length of the lists."""
    longest = sorted(((m["path"], *m["longest"]) for m in measures), key=lambda row: (-row[2], row[0]))
    imports = Counter(module for m in measures for module in m["imports"])
    return {
        "files": len(measures),
        "lines": sum(m["lines"] for m in measures),
        "functions": sum(m["functions"] for m in measures),
        "longest": longest[:top],
        "imports": sorted(imports.items(), key=lambda row: (-row[1], row[0]))[:top],
    }


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
