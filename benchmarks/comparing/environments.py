"""An environment of its own for each system: made by uv once, and again when its requirements change."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path

from comparing.systems import System

__all__ = ["HERE", "Environments", "here"]

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "benchmarks" / ".environments"
REQUIREMENTS = ROOT / "benchmarks" / "requirements"
#: What ours consists of besides what `standard` needs, if this checkout has it.
OPTIONAL_PARTS = ("transport-redis", "transport-amqp")
HERE = Path(sys.executable).parent

#: The bin folder of each environment that could be made, and why the others could not.
Environments = tuple[dict[str, Path], dict[str, str]]


def here(systems: Iterable[System]) -> Environments:
    """Use the environment that this program runs in, for the systems that it happens to hold."""
    found = {system.environment: HERE for system in systems if find_spec(system.module)}
    return found, {system.environment: "not installed here" for system in systems if system.environment not in found}


def make(systems: Iterable[System]) -> Environments:
    """Return the environments of these systems, made where they are missing or of another version."""
    made: dict[str, Path] = {}
    failed: dict[str, str] = {}
    for name in sorted({system.environment for system in systems}):
        try:
            made[name] = _make(name)
        except (OSError, subprocess.CalledProcessError) as exc:
            failed[name] = _reason(exc)
    return made, failed


def _make(name: str) -> Path:
    folder, words = FOLDER / name, _requirements(name)
    stamp = folder / "made-of"
    text = _digest(words)
    if not stamp.exists() or stamp.read_text() != text:
        print(f"making the environment of {name} ...", file=sys.stderr, flush=True)
        FOLDER.mkdir(exist_ok=True)
        _uv("venv", "-q", "--clear", "--python", sys.executable, str(folder))
        _uv(
            "pip",
            "install",
            "-q",
            "--compile-bytecode",
            "--no-sources",
            "--refresh",
            *words,
            environment={"VIRTUAL_ENV": str(folder)},
        )
        stamp.write_text(text)
    return folder / "bin"


def _requirements(name: str) -> list[str]:
    """Return what pip is told to install: of ours the folders of this checkout, of others exact versions."""
    if name != "ours":
        return ["-r", str(REQUIREMENTS / f"{name}.txt")]
    return ["-c", str(ROOT / "constraints.txt"), "kombu[redis]", *map(str, _parts())]


def _parts() -> list[Path]:
    """Return the folders of `bootsteps-standard` and the optional parts, and of all that these need."""
    found: dict[str, Path] = {}
    waiting = ["standard", *OPTIONAL_PARTS]
    for name in waiting:
        folder = ROOT / "kernel" if name == "bootsteps" else ROOT / "plugins" / name
        if name not in found and folder.exists():
            found[name] = folder
            waiting.extend(_siblings(folder))
    return [found[name] for name in sorted(found)]


def _siblings(folder: Path) -> list[str]:
    """Return which distributions of this checkout one of them needs, without their common first word."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    names = [re.split(r"[^\w-]", word)[0] for word in project.get("dependencies", ())]
    return [name.removeprefix("bootsteps-") for name in names if name.startswith("bootsteps")]


def _digest(words: Iterable[str]) -> str:
    """Return a text that changes with the requirements and the files that they name (for a folder all that it has)."""
    sha = hashlib.sha256(sys.version.encode())
    for word in words:
        path = Path(word)
        files = [*sorted(path.glob("src/**/*.py")), path / "pyproject.toml"] if path.is_dir() else [path]
        for file in files if path.is_absolute() else ():
            sha.update(file.read_bytes())
        sha.update(word.encode())
    return sha.hexdigest()


def _uv(*words: str, environment: Mapping[str, str] | None = None) -> None:
    program = os.environ.get("UV") or shutil.which("uv") or str(ROOT / ".x" / "bin" / "uv")
    env = {**os.environ, **(environment or {})}
    # A constraint of the workspace is not for the peers, who bring exact versions.
    subprocess.run([program, "--no-config", *words], env=env, check=True, capture_output=True, text=True, cwd=ROOT)


def _reason(exc: OSError | subprocess.CalledProcessError) -> str:
    if isinstance(exc, subprocess.CalledProcessError):
        return "uv could not install it:\n" + str(exc.stderr).strip()
    return f"uv could not be started ({exc})"
