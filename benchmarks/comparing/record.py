"""What a run leaves behind: on which machine, with what, every sample."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from comparing.measures import MEASURES
from comparing.run import Plan
from comparing.samples import Samples

__all__ = ["heading", "machine", "read", "write"]

#: Whose versions are told: the rest is in benchmarks/requirements/ and constraints.txt.
TOLD = ("celery", "kombu", "dramatiq", "pika", "taskiq", "taskiq-redis", "taskiq-aio-pika", "huey", "redis")
ROOT = Path(__file__).resolve().parent.parent.parent

Machine = dict[str, Any]


def machine(bins: Mapping[str, Path], urls: Mapping[str, str]) -> Machine:
    """Return what the figures depend on besides the systems."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
        "when": time.strftime("%Y-%m-%d"),
        "revision": _revision(),
        "versions": {name: _versions(folder) for name, folder in sorted(bins.items())},
        "servers": _servers(urls),
    }


def heading(machine: Machine, plan: Plan, samples: Samples) -> str:
    """Return what the reader of the tables must know, in Markdown."""
    scale = ", ".join(f"{name} {value:g}" for name, value in asdict(plan.scale).items())
    return (
        f"{machine['when']}, {machine['cores']} cores of {machine['processor']}, {machine['system']}, "
        f"Python {machine['python']}; load when it began: {machine['load']:.1f}; revision {machine['revision']}; "
        f"{', '.join(f'{name} {version}' for name, version in machine['servers'].items())}.\n"
        f"{samples.repetitions} interleaved repetitions: median [lowest–highest]. Scale: {scale}."
    )


def read(paths: Sequence[Path]) -> tuple[str, Samples]:
    """Return the headings and the samples of runs that were written, each of other cells."""
    headings, samples = [], Samples()
    for path in paths:
        found = json.loads(path.read_text())
        headings.append(found["heading"])
        for cell in found["cells"]:
            for run in cell["runs"]:
                samples.add((cell["measure"], cell["system"], cell["broker"]), run, cell["failure"] or "")
    return "\n\n".join(headings), samples


def write(path: Path, machine: Machine, plan: Plan, samples: Samples, left_out: Sequence[str]) -> None:
    """Write one JSON object with every sample of every figure."""
    cells = [
        {"measure": measure, "system": system, "broker": broker, "runs": runs, "failure": samples.failures.get(key)}
        for key, runs in samples.runs.items()
        for measure, system, broker in [key]
    ]
    figures = {name: [asdict(figure) for figure in measure.figures] for name, measure in MEASURES.items()}
    found = {
        "heading": heading(machine, plan, samples),
        "machine": machine,
        "scale": asdict(plan.scale),
        "repetitions": samples.repetitions,
    }
    text = json.dumps({**found, "left_out": list(left_out), "figures": figures, "cells": cells}, indent=1)
    path.write_text(text + "\n")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _revision() -> str:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def _versions(folder: Path) -> dict[str, str]:
    packages = [str(path) for path in folder.parent.glob("lib/python*/site-packages")]
    found = {found.name.lower(): found.version for found in distributions(path=packages)}
    return {name: found[name] for name in TOLD if name in found}


def _servers(urls: Mapping[str, str]) -> dict[str, str]:
    found = {}
    if url := urls.get("redis"):
        from redis import Redis

        info: dict[str, Any] = Redis.from_url(url).info("server")
        found["Redis"] = str(info["redis_version"])
    if url := urls.get("amqp"):
        from kombu import Connection

        with Connection(url) as connection:
            found["RabbitMQ"] = str(connection.connection.server_properties["version"])
    return found
