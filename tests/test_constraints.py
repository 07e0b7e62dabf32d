"""Every package that is installed for work on this checkout is pinned by name and number."""

import importlib.metadata
import re
from pathlib import Path

import pytest

import constraints

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = (ROOT / "pyproject.toml").read_text()
HOW = "try: python tools/constraints.py --add"
#: What an installer may put into any environment by itself.
SEEDS = {"pip", "setuptools", "wheel"}


def test_constraints_txt_is_made_from_the_pins() -> None:
    assert (ROOT / "constraints.txt").read_text() == constraints.constraints(constraints.pins(PYPROJECT)), HOW


def test_everything_installed_here_is_pinned() -> None:
    pins = constraints.pins(PYPROJECT)
    for distribution in importlib.metadata.distributions():
        name = re.sub(r"[-_.]+", "-", distribution.name).lower()
        if name not in SEEDS and name != "bootsteps" and not name.startswith("bootsteps-"):
            assert pins.get(name) == distribution.version, HOW


def test_everything_in_the_lock_is_pinned() -> None:
    lock = ROOT / "uv.lock"
    if not lock.exists():
        pytest.skip("no uv.lock: ./x test makes one, tox and pip do not")
    assert constraints.unpinned(constraints.pins(PYPROJECT), constraints.locked(lock.read_text())) == [], HOW


def test_a_pin_without_a_number_or_given_twice_is_an_error() -> None:
    for entries in ('"kombu>=5"', '"kombu==5.7.0", "kombu==5.7.0"', '"Kombu==5.7.0"'):
        with pytest.raises(ValueError, match="no canonical-name==version, or is twice"):
            constraints.pins(f"[tool.uv]\nconstraint-dependencies = [{entries}]\n")


def test_missing_pins_are_found_and_added() -> None:
    lock = """
        [[package]]
        name = "vine"
        version = "5.1.0"
        source = { registry = "somewhere" }
        [[package]]
        name = "bootsteps"
        version = "0.1.0"
        source = { editable = "kernel" }
        """
    text = '[tool.uv]\nconstraint-dependencies = [\n    "amqp==5.4.2",\n]\npackage = false\n'
    present = constraints.locked(lock)
    assert constraints.unpinned(constraints.pins(text), present) == ["vine"]
    added = constraints.with_pins(text, constraints.pins(text) | present)
    assert constraints.pins(added) == {"amqp": "5.4.2", "vine": "5.1.0"}
    assert added.endswith("]\npackage = false\n")
