"""The standard remote commands of a worker."""

__all__: list[str] = []
