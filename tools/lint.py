"""Run ruff and mypy on everything; `./x lint` calls this. Exit status 1 if one of them complains.

mypy runs once for the code of all distributions and once for each folder of tests: test files of different
plugins have the same names and no package around them, which one run of mypy would refuse.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MYPY = ["mypy", "--no-warn-unused-configs", "--no-error-summary"]
#: Folders of programs and tests, each checked by itself.
APART = ("tools", "examples", "benchmarks")
#: A test function without annotations is still checked inside; to write `-> None` behind each would be noise.
TESTS = ("tests", "kernel/tests", "plugins/*/tests")
RELAXED = ["--allow-untyped-defs", "--allow-incomplete-defs", "--allow-untyped-calls"]


def commands() -> Iterator[list[str]]:
    yield ["ruff", "check", "--quiet", "."]
    yield ["ruff", "format", "--check", "--quiet", "."]
    yield [*MYPY, "kernel/src", *folders("plugins/*/src")]
    yield [*MYPY, "x"]
    yield [*MYPY, "toxfile.py", "conftest.py"]
    for folder in [found for pattern in APART for found in folders(pattern)]:
        yield [*MYPY, folder]
    for folder in [found for pattern in TESTS for found in folders(pattern)]:
        yield [*MYPY, *RELAXED, folder]


def folders(pattern: str) -> list[str]:
    found = sorted(folder for folder in ROOT.glob(pattern) if any(folder.rglob("*.py")))
    return [str(folder.relative_to(ROOT)) for folder in found]


def main() -> int:
    os.chdir(ROOT)
    environment = dict(os.environ, MYPYPATH="tests:tools:benchmarks")
    failed = [command for command in commands() if subprocess.run(command, env=environment).returncode]
    for command in failed:
        print("failed:", *command)
    print("lint: failed" if failed else "lint: all clean")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
