"""Task results in one SQLite file, in the tables of Celery's database backend."""

from bootsteps_result_sqlite.backend import SqliteBackend
from bootsteps_result_sqlite.cleaning import NowAndThen
from bootsteps_result_sqlite.rows import from_row, to_row
from bootsteps_result_sqlite.schema import EXTENDED, PLAIN

__all__ = ["EXTENDED", "PLAIN", "NowAndThen", "SqliteBackend", "from_row", "to_row"]
