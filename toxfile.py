"""The environments of the matrix, made from the folders that are there; tox.ini holds what they share."""

import atexit
import os
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from tox.config.loader.memory import MemoryLoader
from tox.config.types import Command, EnvList
from tox.plugin import impl

if TYPE_CHECKING:
    from tox.config.sets import ConfigSet
    from tox.session.state import State
    from tox.tox_env.api import ToxEnv

ROOT = Path(__file__).resolve().parent
PLUGINS = sorted(path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml"))
INTERPRETERS = ("py311", "py312", "py313")
#: The plugins alone need no more than one: the interpreter that runs tox, so it is there. CI names another.
ALONE = os.environ.get("ALONE_PYTHON") or f"py{sys.version_info.major}{sys.version_info.minor}"
#: The smallest worker that does tasks without a server; a folder that does not exist yet is left out.
WORKER = (
    "worker",
    "worker-hub",
    "worker-timer",
    "worker-pool-solo",
    "consumer",
    "consumer-tasks",
    "tasks",
    "transport-sqlite",
    "result-sqlite",
)
COMPOSITIONS = {
    "kernel": [],
    "worker": [name for name in WORKER if name in PLUGINS],
    "all": PLUGINS,
}
#: Environments that were chosen and could not be made: their interpreter is missing.
missing: set[str] = set()


@impl
def tox_extend_envs() -> tuple[str, ...]:
    return tuple(f"alone-{name}" for name in PLUGINS)


@impl
def tox_add_core_config(core_conf: "ConfigSet", state: "State") -> None:
    matrix = [f"{python}-{name}" for python in INTERPRETERS for name in COMPOSITIONS]
    core_conf.loaders.insert(0, MemoryLoader(env_list=EnvList([*matrix, *tox_extend_envs()])))
    if (
        os.environ.get("CI", "").lower() not in ("", "0", "false")
        and state.conf.options.skip_missing_interpreters == "config"
    ):
        state.conf.options.skip_missing_interpreters = "false"
    for python in INTERPRETERS:
        for name, plugins in COMPOSITIONS.items():
            seed(state, f"{python}-{name}", plugins, everything=name == "all")
    for name in PLUGINS:
        seed(state, f"alone-{name}", [name], base_python=[ALONE], tests=[name])


def seed(
    state: "State",
    environment: str,
    plugins: list[str],
    *,
    everything: bool = False,
    tests: list[str] | None = None,
    base_python: list[str] | None = None,
) -> None:
    """Say what one environment installs and runs: the tests of the kernel and `plugins`, or only `tests`."""
    folders = [f"plugins/{name}" for name in plugins]
    installed = [f"-e ./{folder}{extras(folder) if everything else ''}" for folder in ["kernel", *folders]]
    tested = [f"plugins/{name}" for name in tests] if tests is not None else ["kernel", *folders]
    tested = ["tests", *tested] if everything else tested  # the long ones first
    values: dict[str, object] = {
        "deps": "\n".join(installed),
        "commands": [Command(["pytest", *tested, *(state.conf.pos_args(None) or ())])],
    }
    if everything:
        values["dependency_groups"] = ["test", "peers"]
    if base_python:
        values["base_python"] = base_python
        values["recreate"] = True  # else a dependency that is no longer declared would still be installed
    state.conf.memory_seed_loaders[environment].append(MemoryLoader(**values))


def extras(folder: str) -> str:
    """Return all extras of a distribution as a suffix for pip: `[png]`, or nothing."""
    project = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
    names = sorted(project.get("optional-dependencies", {}))
    return f"[{','.join(names)}]" if names else ""


@impl
def tox_env_teardown(tox_env: "ToxEnv") -> None:
    """Called after each run, also after one that was skipped."""
    if not (tox_env.env_dir / "bin" / "python").exists():
        if not missing:
            atexit.register(report_missing)  # after tox's own summary, which ends with "congratulations"
        missing.add(tox_env.conf.name)


def report_missing() -> None:
    for python in INTERPRETERS:
        if any(name.split("-")[0] == python for name in missing):
            version = f"3.{python[3:]}"
            print(f"not run: {python} (no python{version} found; install it or: pyenv install {version})")
