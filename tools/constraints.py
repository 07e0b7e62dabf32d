"""Write constraints.txt (for pip) from the pins in the root pyproject.toml (for uv).

python tools/constraints.py              write constraints.txt
python tools/constraints.py --check      say whether it is in step, write nothing
python tools/constraints.py --add        first add a pin for each package of uv.lock that has none
"""

import argparse
import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEAD = "# Made by tools/constraints.py from constraint-dependencies in pyproject.toml: edit there.\n"
PINS = re.compile(r"(?<=^constraint-dependencies = \[\n).*?(?=^\]$)", re.DOTALL | re.MULTILINE)
PIN = re.compile(r"(?P<name>[a-z0-9]+(-[a-z0-9]+)*)==(?P<version>[^;\s]+)")


def pins(pyproject: str) -> dict[str, str]:
    """Return name -> version of the constraint-dependencies in the text of a pyproject.toml.

    Raises ValueError for an entry that is no plain `canonical-name==version`, or is there twice.
    """
    found: dict[str, str] = {}
    for entry in tomllib.loads(pyproject)["tool"]["uv"]["constraint-dependencies"]:
        match = PIN.fullmatch(entry)
        if match is None or match["name"] in found:
            raise ValueError(f"constraint-dependencies: {entry!r} is no canonical-name==version, or is twice")
        found[match["name"]] = match["version"]
    return found


def constraints(versions: dict[str, str]) -> str:
    """Return the text of constraints.txt."""
    return HEAD + "".join(f"{name}=={version}\n" for name, version in sorted(versions.items()))


def locked(lock: str) -> dict[str, str]:
    """Return name -> version of the packages that a uv.lock takes from an index (not our own folders)."""
    packages = tomllib.loads(lock).get("package", [])
    return {p["name"]: p["version"] for p in packages if "registry" in p["source"]}


def unpinned(versions: dict[str, str], present: Iterable[str]) -> list[str]:
    return sorted(set(present) - set(versions))


def with_pins(pyproject: str, versions: dict[str, str]) -> str:
    """Return the pyproject text with its list of pins replaced."""
    lines = "".join(f'    "{name}=={version}",\n' for name, version in sorted(versions.items()))
    return PINS.sub(lambda _: lines, pyproject, count=1)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--add", action="store_true")
    options = parser.parse_args(argv)
    project, target = ROOT / "pyproject.toml", ROOT / "constraints.txt"
    text = project.read_text()
    versions = pins(text)
    if options.add:
        lock = locked((ROOT / "uv.lock").read_text())
        versions |= {name: lock[name] for name in unpinned(versions, lock)}
        project.write_text(with_pins(text, versions))
    if options.check:
        current = target.exists() and target.read_text() == constraints(versions)
        print("constraints.txt is in step" if current else "out of step; try: python tools/constraints.py")
        return 0 if current else 1
    target.write_text(constraints(versions))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
