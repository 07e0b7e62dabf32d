"""A list that keeps its cursor where it is while rows come, change and go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.text import Text
from textual.widgets import DataTable

from bootsteps_events_monitor.rows import Row

__all__ = ["Listing"]

COLOURS = {
    "SUCCESS": "green", "FAILURE": "red", "REVOKED": "magenta", "REJECTED": "magenta", "RETRY": "yellow",
    "STARTED": "blue", "ONLINE": "green", "OFFLINE": "red",
}  # fmt: skip


class Listing(DataTable[Text]):
    """Rows that are known by a key each."""

    def __init__(self, columns: Sequence[str], **how: Any) -> None:
        super().__init__(cursor_type="row", zebra_stripes=True, **how)
        self._titles = columns
        self._shown: list[Row] = []

    def on_mount(self) -> None:
        for title in self._titles:
            self.add_column(title, key=title)

    @property
    def selected(self) -> str | None:
        """The key of the row under the cursor."""
        return self._shown[self.cursor_row][0] if 0 <= self.cursor_row < len(self._shown) else None

    def show(self, found: list[Row]) -> None:
        """Show these rows; the cursor stays on its row, and on the first one if it never was moved."""
        if found == self._shown:
            return
        if [key for key, _ in found] == [key for key, _ in self._shown]:
            self._change(found)
        else:
            self._replace(found)

    def _change(self, found: list[Row]) -> None:
        for (key, new), (_, old) in zip(found, self._shown, strict=True):
            for title, is_now, was in zip(self._titles, new, old, strict=True):
                if is_now != was:
                    self.update_cell(key, title, _cell(is_now), update_width=True)
        self._shown = found

    def _replace(self, found: list[Row]) -> None:
        kept = self.selected if self.cursor_row > 0 else None
        offset = self.scroll_y + next((n for n, (key, _) in enumerate(found) if key == kept), 0) - self.cursor_row
        self.clear()
        for key, cells in found:
            self.add_row(*map(_cell, cells), key=key)
        self._shown = found
        at = next((n for n, (key, _) in enumerate(found) if key == kept), 0)
        self.move_cursor(row=at, scroll=False)
        if at:
            self.scroll_to(y=offset, animate=False)


def _cell(text: str) -> Text:
    return Text(text, style=COLOURS.get(text, ""))
