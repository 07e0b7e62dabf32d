"""Ask and tell running workers: `app.control`, `kernel inspect`, `kernel control`, `kernel status`."""

__all__: list[str] = []
