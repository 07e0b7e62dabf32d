"""The units and manifests in docs/deploy: they parse, and every option and command in them exists."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("bootsteps_standard")
yaml = pytest.importorskip("yaml")

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "deploy"
UNITS = sorted(FOLDER.glob("systemd/*.service"))


def accepted(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Let the program read a command line, without starting anything."""
    (folder / "proj.py").write_text("from bootsteps_tasks import App\napp = App('proj')\n")
    dry = ["--dry-run"] if "worker" in words else ["--help"]
    return subprocess.run(
        [sys.executable, "-m", "bootsteps", *words, *dry], cwd=folder, text=True, capture_output=True, timeout=60
    )


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_is_one_and_starts_what_there_is(unit: Path, tmp_path: Path) -> None:
    parsed = configparser.RawConfigParser(strict=False)
    parsed.optionxform = str  # type: ignore[assignment, method-assign]
    parsed.read(unit)
    service = parsed["Service"]
    assert (service["Type"], service["KillMode"]) == ("notify", "mixed")
    words = shlex.split(service["ExecStart"].replace("%%", "%").replace("%i", "images"))[1:]
    done = accepted(words, tmp_path)
    assert done.returncode == 0, done.stderr
    assert int(service["TimeoutStopSec"]) > 25


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_finds_no_fault_in_a_unit(unit: Path, tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed; try: apt-get install systemd")
    python = shutil.which("true")
    copy = tmp_path / unit.name.replace("@", "@images")
    text = re.sub(r"^ExecStart=\S+", f"ExecStart={python}", unit.read_text(), flags=re.M)
    copy.write_text(re.sub(r"^(User|Group)=.*\n", "", text, flags=re.M))
    done = subprocess.run([program, "verify", "--man=no", str(copy)], text=True, capture_output=True, timeout=60)
    about = [line for line in (done.stdout + done.stderr).splitlines() if copy.name in line]
    assert about == []


def documents() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / "kubernetes/worker.yaml").read_text()))


@pytest.mark.parametrize("number", [0, 1])
def test_a_manifest_is_one_and_starts_what_there_is(number: int, tmp_path: Path) -> None:
    document = documents()[number]
    spec = document["spec"]["template"]["spec"]
    assert document["spec"]["selector"]["matchLabels"] == document["spec"]["template"]["metadata"]["labels"]
    [container] = spec["containers"]
    done = accepted(["-A", "proj", *container["args"]], tmp_path)
    assert done.returncode == 0, done.stderr
    names = {volume["name"] for volume in spec["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == names
    if "--grace" in container["args"]:
        grace = int(container["args"][container["args"].index("--grace") + 1])
        assert spec["terminationGracePeriodSeconds"] > grace


def test_the_probes_are_commands(tmp_path: Path) -> None:
    [container] = documents()[0]["spec"]["template"]["spec"]["containers"]
    probes = [container[f"{name}Probe"]["exec"]["command"] for name in ("startup", "liveness", "readiness")]
    line = re.search(r"^HEALTHCHECK .*CMD (\[.*\])$", (FOLDER / "Dockerfile").read_text(), re.M)
    assert line is not None
    probes.append(json.loads(line[1]))
    assert {tuple(words[:2]) for words in probes} == {("kernel", "health")}
    assert {words[2] for words in probes} == {"live", "ready"}
    pytest.importorskip("bootsteps_health")
    for words in probes:
        asked = subprocess.run(
            [sys.executable, "-m", "bootsteps", *words[1:], f"--folder={tmp_path}"],
            text=True, capture_output=True, timeout=60,
        )  # fmt: skip
        assert (asked.returncode, "no worker answers" in asked.stderr) == (2, True), asked.stderr  # and no wrong use


def test_the_container_file_starts_what_there_is(tmp_path: Path) -> None:
    text = (FOLDER / "Dockerfile").read_text()
    lists = dict(re.findall(r"^(ENTRYPOINT|CMD) (\[.*\])$", text, re.M))
    words = [*json.loads(lists["ENTRYPOINT"]), *json.loads(lists["CMD"])]
    assert accepted(words[1:], tmp_path).returncode == 0
    assert "STOPSIGNAL SIGTERM" in text
    assert re.search(r"^USER (?!root)\w+$", text, re.M)


def test_the_container_file_names_distributions_that_there_are(tmp_path: Path) -> None:
    named = set(re.findall(r"bootsteps-[a-z-]+", (FOLDER / "Dockerfile").read_text()))
    root = FOLDER.parent.parent
    assert named >= {"bootsteps-standard", "bootsteps-health"}
    assert {name for name in named if not (root / "plugins" / name.removeprefix("bootsteps-")).is_dir()} == set()


def test_the_user_of_the_container_file_can_be_made(tmp_path: Path) -> None:
    program = shutil.which("useradd", path="/usr/sbin:/sbin")
    if program is None or os.geteuid() != 0:
        pytest.skip("needs root and useradd; try: apt-get install passwd")
    text = (FOLDER / "Dockerfile").read_text()
    line = re.search(r"^RUN useradd (.*)$", text, re.M)
    user = re.search(r"^USER (\w+)$", text, re.M)
    assert line is not None
    assert user is not None
    for name in ("etc/passwd", "etc/group", "etc/shadow", "var/lib/none"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    words = [program, "--prefix", str(tmp_path), *shlex.split(line[1])]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert (done.returncode, "SYS_UID" in done.stderr) == (0, False), done.stderr
    [name, _, number, *_] = (tmp_path / "etc/passwd").read_text().split(":")
    assert (name, number) == (user[1], "10001")
    [container] = documents()[0]["spec"]["template"]["spec"]["containers"]
    assert documents()[0]["spec"]["template"]["spec"]["securityContext"]["runAsUser"] == int(number)
    assert re.search(r"XDG_STATE_HOME=(\S+)", text)[1] == "/var/lib/kernel"  # type: ignore[index]
    assert (tmp_path / "var/lib/kernel").is_dir()
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
