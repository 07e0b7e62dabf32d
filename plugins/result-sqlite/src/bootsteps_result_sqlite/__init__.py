"""Task results in one SQLite file, in the tables of Celery's database backend."""

from bootsteps_result_sqlite.backend import SqliteBackend

__all__ = ["SqliteBackend"]
