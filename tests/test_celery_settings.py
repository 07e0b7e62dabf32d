"""Each setting that Celery knows is one of ours, or refused by name with what to do instead."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from bootsteps import BootError, compose, scan
from bootsteps.discovery import Catalogue
from bootsteps_tasks import App

celery_defaults = pytest.importorskip("celery.app.defaults")


#: Those that Celery reads and does not list.
UNWRITTEN = [
    *("override_backends", "redis_backend_health_check_interval", "redis_backend_credential_provider"),
    *("redis_client_name", "deprecated_settings"),
    *(f"{who}_{what}" for who in ("beat", "events") for what in ("logfile", "pidfile", "uid", "umask", "executable")),
]


def faults_of(**settings: Any) -> dict[str, str]:
    """Compose a worker with these settings; return what to do about each that is refused."""
    try:
        compose(App("celery-settings", worker_pool="solo", **settings), Catalogue(scan()), "worker")
    except BootError as exc:
        return {fault.what: fault.fix for fault in exc.faults}
    return {}


def declared() -> set[str]:
    app = App("celery-settings")
    compose(app, Catalogue(scan()), "worker")
    return set(app.conf)


def test_no_setting_of_celerys_is_ignored_in_silence():
    ours = declared()
    others = {name: "x" for name in (*celery_defaults.SETTING_KEYS, *UNWRITTEN) if name not in ours}
    found = faults_of(**others)
    silent = [name for name in others if f"unknown setting {name!r} in the application" not in found]
    assert silent == []
    vague = [what for what, fix in found.items() if "kernel plugins list" in fix or "did you mean" in fix]
    assert vague == [], "each has a sentence of its own in bootsteps_tasks.celerys"
    assert len(others) < 130


def test_the_old_names_are_refused_with_the_new_ones():
    new = dict(celery_defaults._TO_NEW_KEY)
    found = faults_of(**dict.fromkeys(new, "x"))
    for old, name in new.items():
        fix = found[f"unknown setting {old!r} in the application"]
        assert fix.split(";")[0] == f"its name is {name} now", old


def test_a_name_in_the_environment_is_refused_too(tmp_path):
    (tmp_path / "proj.py").write_text("from bootsteps_tasks import App\napp = App('proj')\n")
    done = subprocess.run(
        [sys.executable, "-m", "bootsteps", "-A", "proj", "worker", "-P", "solo", "--dry-run"], cwd=tmp_path,
        capture_output=True, text=True, timeout=60,
        env={**os.environ, "KERNEL_BROKER_POOL_LIMIT": "3", "KERNEL_CELERYD_CONCURRENCY": "3"},
    )  # fmt: skip
    assert done.returncode == 2
    assert "unknown setting 'broker_pool_limit' in the environment\n  KERNEL_BROKER_POOL_LIMIT\n  try:" in done.stderr
    assert "try: its name is worker_concurrency now" in done.stderr


def test_celerys_variables_of_the_environment_are_not_ignored_in_silence(tmp_path):
    (tmp_path / "proj.py").write_text("from bootsteps_tasks import App\napp = App('proj')\n")

    def said(*words: str, **env: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "bootsteps", "-A", "proj", *words], cwd=tmp_path, capture_output=True, text=True,
            timeout=60, env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), **env},
        )  # fmt: skip
        return done.returncode, done.stderr

    for words in (("call", "proj.add"), ("worker", "-P", "solo"), ("queues", "list")):
        status, text = said(*words, CELERY_BROKER_URL="redis://h/0")
        assert (status, "Traceback" in text) == (2, False), text
        assert "broker_url is not set, and CELERY_BROKER_URL in the environment, which is, is Celery's" in text
        assert 'export KERNEL_BROKER_URL="$CELERY_BROKER_URL"' in text
    status, text = said("result", "some-id", CELERY_RESULT_BACKEND="redis://h/0")
    assert (status, "CELERY_RESULT_BACKEND in the environment" in text) == (2, True)
    both = {"CELERY_BROKER_URL": "redis://h/0", "KERNEL_BROKER_URL": f"sqlite:///{tmp_path}/b.db"}
    assert said("call", "proj.add", **both)[0] == 0  # it is only in the way where it could be meant
