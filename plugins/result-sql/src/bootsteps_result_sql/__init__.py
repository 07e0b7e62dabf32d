"""Task results in a SQL database, in the tables of Celery's database backend."""

from bootsteps_result_sql.backend import SqlBackend

__all__ = ["SqlBackend"]
