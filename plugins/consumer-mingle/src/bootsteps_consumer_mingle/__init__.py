"""What other workers know: revoked tasks and the logical clock, learnt before the first task is taken."""

__all__: list[str] = []
