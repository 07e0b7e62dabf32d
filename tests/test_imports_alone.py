"""Every plugin can be imported with what it declares, and with nothing that only the tests bring along.

The environments of tox have pytest and what that needs: an import of `packaging` succeeds there, and not at a user's.
"""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution, packages_distributions

import pytest
from packaging.requirements import Requirement

from bootsteps import scan

PLUGINS = scan()
DISTS = sorted({plugin.dist for plugin in PLUGINS if plugin.dist.startswith("bootsteps")})

#: Refuses the modules named by the first argument and loads the entry points named by the others.
LOADER = """
import importlib, sys
from importlib.abc import MetaPathFinder

class Refuses(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in refused:
            raise ModuleNotFoundError(f"{name} is not among what the plugin declares", name=name)

refused = set(sys.argv[1].split(","))
sys.meta_path.insert(0, Refuses())
for value in sys.argv[2:]:
    module, _, attribute = value.partition(":")
    found = importlib.import_module(module)
    for name in filter(None, attribute.split(".")):
        found = getattr(found, name)
"""


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def needed(name: str, extras: frozenset[str] = frozenset()) -> frozenset[str]:
    """The distributions that come with this one, itself among them."""
    return frozenset(_needed(name, extras, set()))


def _needed(name: str, extras: frozenset[str], seen: set[tuple[str, frozenset[str]]]) -> set[str]:
    if (name, extras) in seen:
        return set()
    seen.add((name, extras))
    try:
        found: Distribution = distribution(name)
    except PackageNotFoundError:
        return set()
    names = {canonical(name)}
    for line in found.requires or ():
        requirement = Requirement(line)
        wanted = [{"extra": extra} for extra in ("", *extras)]
        if requirement.marker is None or any(requirement.marker.evaluate(environment) for environment in wanted):
            names |= _needed(canonical(requirement.name), frozenset(requirement.extras), seen)
    return names


@cache
def owners() -> dict[str, set[str]]:
    return {module: set(map(canonical, dists)) for module, dists in packages_distributions().items()}


@pytest.mark.parametrize("dist", DISTS)
def test_a_plugin_needs_nothing_but_what_it_declares(dist: str) -> None:
    there = needed(dist)
    refused = [module for module, dists in owners().items() if not dists & there and not module.startswith("_")]
    assert "pytest" in refused or dist == "bootsteps-pytest"
    values = [plugin.value for plugin in PLUGINS if plugin.dist == dist]
    words = [sys.executable, "-c", LOADER, ",".join(refused), *values]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
