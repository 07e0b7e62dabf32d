"""`kernel flower`: Flower for an application of ours."""

from bootsteps_flower.translation import as_celery

__all__ = ["as_celery"]
