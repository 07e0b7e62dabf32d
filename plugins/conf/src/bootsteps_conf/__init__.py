"""`kernel conf`: every setting, its value, and where that came from."""

__all__: list[str] = []
