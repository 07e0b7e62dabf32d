"""The samples in docs/authors.md work, and its table of hooks is that of the kernel."""

from __future__ import annotations

import inspect
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner

from bootsteps import hooks
from bootsteps.cli import Session

pytest.importorskip("bootsteps_consumer")

PAGE = Path(__file__).resolve().parent.parent / "docs" / "authors.md"
TEXT = PAGE.read_text()
GROUPS = {"worker.steps", "consumer.steps", "worker.commands", "kernel.commands", "kernel.hooks"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def samples() -> Iterator[dict[str, Any]]:
    """The names that the samples define, one after the other as they stand on the page."""
    module = ModuleType("samples_of_authors")
    sys.modules[module.__name__] = module
    for block in blocks("python"):
        exec(compile(block, str(PAGE), "exec"), vars(module))
    yield vars(module)
    del sys.modules[module.__name__]


def names_of_tests() -> list[str]:
    return re.findall(r"^def (test_\w+)", "".join(blocks("python")), re.MULTILINE)


@pytest.mark.parametrize("name", names_of_tests())
def test_a_test_of_the_page_passes(samples: dict[str, Any], name: str, request: pytest.FixtureRequest) -> None:
    test = samples[name]
    test(*(request.getfixturevalue(fixture) for fixture in inspect.signature(test).parameters))


def test_the_page_has_tests_and_every_entry_point_names_one_of_its_samples(samples: dict[str, Any]) -> None:
    assert len(names_of_tests()) >= 4
    for block in blocks("toml"):
        for group, points in tomllib.loads(block)["project"]["entry-points"].items():
            assert group in GROUPS
            assert {value.rpartition(":")[2] for value in points.values()} <= set(samples)


def test_the_listener_hears(samples: dict[str, Any]) -> None:
    found = hooks.Hooks()
    step = samples["CountsFailures"](None)
    found.register(step, "sample")
    for state in ("SUCCESS", "FAILURE"):
        found.announce("task_settled", request=None, state=state, runtime_s=0.1)
    assert step.failures == 1


def test_the_subcommand_lists_what_would_boot(samples: dict[str, Any]) -> None:
    pytest.importorskip("bootsteps_standard")
    done = CliRunner().invoke(samples["parts"], obj=Session(), catch_exceptions=False)
    assert (done.exit_code, "Timer (worker.steps:Timer (bootsteps-worker-timer" in done.output) == (0, True)


def test_the_table_of_hooks_is_that_of_the_kernel() -> None:
    specs = {name: spec for name, spec in vars(hooks).items() if hasattr(spec, "bootsteps_spec")}
    rows = [f"| `{n}` | `{', '.join(inspect.signature(s).parameters)}` | {s.__doc__} |" for n, s in specs.items()]
    table = TEXT.partition("| Hook | Arguments | Meaning |\n|---|---|---|\n")[2].partition("\n\n")[0]
    assert table.splitlines() == rows
