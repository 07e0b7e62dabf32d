"""Lines of many tasks are written together where the log can do that, and told one by one where it cannot."""

from __future__ import annotations

import io
import logging

import pytest

from bootsteps_consumer_tasks.lines import Lines


class Together(logging.Formatter):
    takes_lines = True

    def format(self, record: logging.LogRecord) -> str:
        return f"{record.levelname} " + "|".join(getattr(record, "lines", [record.getMessage()]))


@pytest.fixture
def log() -> logging.Logger:
    return logging.Logger("alone", logging.INFO)  # nobody else hears it, not even pytest


def handler(log: logging.Logger, formatter: logging.Formatter | None) -> io.StringIO:
    made = logging.StreamHandler(io.StringIO())
    made.setFormatter(formatter)
    log.addHandler(made)
    return made.stream


def said(log: logging.Logger) -> Lines:
    lines = Lines(log)
    lines.add("Task %s received", "a")
    lines.add("Task %s received", "b")
    return lines


def test_a_log_that_takes_lines_gets_them_in_one_record(log: logging.Logger) -> None:
    written = handler(log, Together())
    lines = said(log)
    assert written.getvalue() == ""
    lines.flush()
    lines.flush()
    assert written.getvalue() == "INFO Task a received|Task b received\n"


def test_any_other_log_gets_a_record_for_each(log: logging.Logger) -> None:
    handler(log, Together())
    written = handler(log, None)
    said(log).flush()
    assert written.getvalue() == "Task a received\nTask b received\n"


def test_a_filter_sees_each_line(log: logging.Logger) -> None:
    written = handler(log, Together())
    log.handlers[0].addFilter(lambda record: record.args == ("b",))
    said(log).flush()
    assert written.getvalue() == "INFO Task b received\n"


def test_what_is_not_logged_is_not_kept(log: logging.Logger) -> None:
    log.setLevel(logging.WARNING)
    lines = said(log)
    log.setLevel(logging.INFO)
    written = handler(log, Together())
    lines.flush()
    assert written.getvalue() == ""
