"""Task results in Redis, in the keys and messages of Celery's Redis backend."""

from bootsteps_result_redis.backend import RedisBackend

__all__ = ["RedisBackend"]
