"""What the monitor lays over its lists: texts to read, and questions."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Static

__all__ = ["Ask", "Page", "Prompt"]


class Page(ModalScreen[None]):
    """A text to read."""

    BINDINGS = [("escape,q,enter,i", "dismiss", "Back")]
    CSS = """
    Page { align: center middle; }
    Page > VerticalScroll {
        width: 90%; height: auto; max-height: 80%; border: round $accent; background: $surface; padding: 0 1;
    }
    """

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self._title = title
        self._text = text

    def compose(self) -> ComposeResult:
        with VerticalScroll() as box:
            box.border_title = self._title
            box.border_subtitle = "escape: back"
            yield Static(self._text, markup=False)


class Ask(ModalScreen[bool]):
    """A question: y for yes, everything else is no."""

    CSS = """
    Ask { align: center middle; }
    Ask > Vertical { width: 80%; height: auto; border: round $warning; background: $surface; padding: 0 1; }
    """
    BINDINGS = [("y", "dismiss(True)", "Yes"), ("n,escape,q,enter", "dismiss(False)", "No")]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_subtitle = "y: yes, n: no"
            yield Static(self._question, markup=False)


class Prompt(ModalScreen[str | None]):
    """A question that is answered by a line of text; None after escape."""

    CSS = """
    Prompt { align: center middle; }
    Prompt > Vertical { width: 80%; height: auto; border: round $warning; background: $surface; padding: 0 1; }
    """
    BINDINGS = [("escape", "dismiss(None)", "No")]

    def __init__(self, question: str, value: str = "") -> None:
        super().__init__()
        self._question = question
        self._value = value

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_subtitle = "enter: do it, escape: do not"
            yield Static(self._question, markup=False)
            yield Input(self._value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value.strip() or None)
