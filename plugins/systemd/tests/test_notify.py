"""A socket in systemd's place hears what a worker says."""

from __future__ import annotations

import os
import socket

import pytest

from bootsteps import TIMER, hooks
from bootsteps.testing import FakeTimer, check_step, lifetime
from bootsteps_systemd.notify import tell
from bootsteps_systemd.step import Systemd


@pytest.fixture(params=["path", "abstract"])
def systemd(request, tmp_path, monkeypatch):
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.settimeout(30)
    name = f"@bootsteps-test-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "notify")
    listener.bind(name.replace("@", "\0", 1))
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    yield lambda: listener.recv(4096).decode().splitlines()
    listener.close()


def test_systemd_hears_of_the_beginning_and_the_end(systemd):
    heard, step = hooks.Hooks(), Systemd(None)
    heard.register(step, "systemd")
    heard.announce("worker_ready", worker="w@h")
    assert systemd() == ["READY=1", "STATUS=w@h is ready", f"MAINPID={os.getpid()}"]
    heard.announce("worker_shutting_down", worker="w@h", sig="SIGTERM", how="Warm", exitcode=0)
    heard.announce("worker_stopping", worker="w@h", how="warm")
    assert systemd() == ["STOPPING=1", "STATUS=warm shutdown"]


def test_who_starts_anew_is_not_said_to_stop(systemd):
    heard = hooks.Hooks()
    heard.register(Systemd(None), "systemd")
    heard.announce("worker_shutting_down", worker="w@h", sig="SIGHUP", how="Warm", exitcode=0)
    assert systemd()[0] == "RELOADING=1"
    heard.announce("worker_stopping", worker="w@h", how="warm")
    heard.announce("worker_ready", worker="w@h")
    assert systemd()[0] == "READY=1"


def test_without_systemd_nothing_is_said(monkeypatch, tmp_path, caplog):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert tell("READY=1") is False
    assert not caplog.records
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    assert tell("READY=1") is False
    assert "cannot be told READY=1" in caplog.text


def test_the_watchdog_hears_of_each_turn(systemd, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "3000000")
    timer = FakeTimer()
    with lifetime(Systemd, {TIMER: timer}):
        timer.advance(1.6)
        assert systemd() == ["WATCHDOG=1"]
    assert timer.pending == 0


@pytest.mark.parametrize("variables", [{}, {"WATCHDOG_USEC": "5", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "x"}])
def test_who_is_not_watched_gives_no_sign_of_life(monkeypatch, variables):
    for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere")
    timer = FakeTimer()
    with lifetime(Systemd, {TIMER: timer}):
        assert timer.pending == 0


def test_keeps_the_contract(monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere")
    check_step(Systemd)
