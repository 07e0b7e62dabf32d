"""`kernel conf` in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROJ = """
from bootsteps import Setting
from bootsteps_tasks import App

class Mine(App):
    settings = (*App.settings, Setting("door_code", str, None, flags=(), secret=True))

app = Mine("proj", task_default_queue="mail", security_key_password="geheim", door_code="1234",
           broker_transport_options={"sentinel_kwargs": {"password": "geheim"}})
wrong = Mine("wrong", task_default_queu="mail", task_protocol="two")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "proj.py").write_text(PROJ)
    (tmp_path / "prod.toml").write_text('[bootsteps]\nbroker_url = "amqp://me:geheim@host//"\ntimezone = "UTC"\n')
    return tmp_path


def conf(folder: Path, *words: str, app: str = "proj", **env: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "bootsteps", "-A", app, "conf", *words], cwd=folder, capture_output=True, text=True,
        timeout=60, env={**os.environ, **env},
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def rows(folder: Path, *words: str, **env: str) -> dict[str, dict[str, Any]]:
    status, out, err = conf(folder, "--json", *words, **env)
    assert status == 0, err
    return {row["name"]: row for row in json.loads(out)}


def test_what_somebody_set_is_shown_with_where(folder):
    found = rows(
        folder, "--config", "prod.toml", "--result-backend", "redis://:geheim@host/1", KERNEL_TIMEZONE="Europe/Berlin"
    )
    assert {name: (row["value"], row["source"]) for name, row in found.items()} == {
        "broker_transport_options": ({"sentinel_kwargs": {"password": "********"}}, "application"),
        "broker_url": ("amqp://me:********@host//", "prod.toml:2"),
        "door_code": ("********", "application"),
        "result_backend": ("redis://:********@host/1", "command line"),
        "security_key_password": ("********", "application"),
        "task_default_queue": ("mail", "application"),
        "timezone": ("Europe/Berlin", "KERNEL_TIMEZONE"),
    }
    assert found["timezone"]["owner"] == "application"


def test_a_table_for_people_holds_no_secret(folder):
    status, out, _ = conf(folder, "--config", "prod.toml")
    assert status == 0
    assert "geheim" not in out
    assert "1234" not in out
    assert [line.split() for line in out.splitlines() if line.startswith("task_default_queue ")] == [
        ["task_default_queue", "mail", "application"]
    ]


def test_the_defaults_are_shown_when_asked_for_and_single_settings_by_name(folder):
    everything = rows(folder, "--defaults")
    assert everything["task_serializer"] | {"help": ""} == {
        "name": "task_serializer", "value": "json", "source": "default", "default": "json", "owner": "application",
        "help": "",
    }  # fmt: skip
    assert list(rows(folder, "task_serializer", "timezone")) == ["task_serializer", "timezone"]


def test_an_unknown_name_is_an_error_with_a_near_one_or_with_what_to_do_instead(folder):
    status, _, err = conf(folder, "task_serialiser", "broker_host")
    assert status == 2
    assert "there is no setting 'task_serialiser'\n  kernel conf task_serialiser\n  try: did you mean" in err
    assert "there is no setting 'broker_host'\n  kernel conf broker_host\n  try: write it in broker_url" in err


def test_faults_are_told_below_the_table(folder):
    status, out, err = conf(folder, "task_protocol", app="proj:wrong")
    assert status == 2
    assert out == 'task_protocol  two  application\n'  # fmt: skip
    assert "unknown setting 'task_default_queu' in the application" in err
    assert "setting 'task_protocol' takes an int, not 'two' (application)" in err


def test_an_option_is_named_in_the_environment_too(folder):
    found = rows(folder, KERNEL_CONF_BROKER="redis://host/3", KERNEL_CONF_RESULT_BACKEND="redis://host/4")
    assert (found["broker_url"]["value"], found["broker_url"]["source"]) == ("redis://host/3", "KERNEL_CONF_BROKER")
    assert found["result_backend"]["source"] == "KERNEL_CONF_RESULT_BACKEND"
