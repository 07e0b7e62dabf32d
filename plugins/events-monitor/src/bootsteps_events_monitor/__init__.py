"""A full-screen monitor of workers and tasks."""

__all__: list[str] = []
