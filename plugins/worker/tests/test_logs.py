"""The log of one process, without a worker."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bootsteps import App
from bootsteps_worker import logs


@contextmanager
def new_process() -> Iterator[logging.Logger]:
    """Yield the root logger as a new process has it: without handlers, also without pytest's."""
    root = logging.getLogger()
    level, handlers, root.handlers = root.level, root.handlers, []
    try:
        yield root
    finally:
        for handler in root.handlers:
            handler.close()
        root.handlers = handlers
        root.setLevel(level)


def test_the_time_is_written_as_the_setting_says(tmp_path: Path) -> None:
    app = App("proj", worker_logfile=f"{tmp_path}/%n.log", worker_log_datefmt="day %j", worker_log_level="info")
    with new_process():
        logs.set_up(app, "w@h")
        logging.getLogger("some").info("hello")
    assert (tmp_path / "w.log").read_text().startswith("[day ")
    assert "hello" in (tmp_path / "w.log").read_text()


def test_who_listens_to_setup_logging_does_it_alone() -> None:
    app = App("proj", worker_logfile="/nowhere/%n%I.log", worker_log_level="ERROR")
    told: list[tuple[int, str | None]] = []
    app.hooks.connect("setup_logging")(lambda loglevel, logfile: told.append((loglevel, logfile)))
    with new_process() as root:
        logs.set_up(app, "w@h", 2)
        assert told == [(logging.ERROR, "/nowhere/w-2.log")]
        assert root.handlers == []


def test_what_is_no_terminal_gets_no_colours(capfd: pytest.CaptureFixture[str]) -> None:
    with new_process():
        logs.set_up(App("proj"), "w@h")
        logging.getLogger("some").error("plain")
    error = capfd.readouterr().err
    assert "plain" in error
    assert "\033" not in error


@pytest.mark.parametrize("color", [False, True])
def test_a_record_of_many_lines_is_written_as_if_each_had_one(tmp_path: Path, color: bool) -> None:
    app = App("proj", worker_logfile=f"{tmp_path}/%n.log", worker_log_level="info", worker_log_color=color)
    app.conf["worker_log_format"] = "%(levelname)s %(message)s (%(name)s)"
    with new_process() as root:
        logs.set_up(app, "w@h")
        log = logging.getLogger("some")
        for text in ("100 %s", "b"):
            log.info("%s", text)
        assert getattr(root.handlers[0].formatter, "takes_lines", False)
        log.info("%d lines", 2, extra={"lines": ["100 %s", "b"]})
    written = (tmp_path / "w.log").read_text().splitlines()
    assert "INFO 100 %s (some)" in written[0]
    assert written[:2] == written[2:]
