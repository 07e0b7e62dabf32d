"""The screen: a list of tasks or of workers, and the keys."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

from textual.app import App as TextualApp
from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import ContentSwitcher, DataTable, Footer, Input, Static

from bootsteps_consumer_events.tasks import Task
from bootsteps_events_monitor import rows
from bootsteps_events_monitor.cluster import Cluster
from bootsteps_events_monitor.dialogues import Ask, Page, Prompt
from bootsteps_events_monitor.listing import Listing

__all__ = ["Monitor"]

#: Seconds between two looks at what is new.
LOOK_S = 0.25
#: Seconds for which the answers of workers are shown.
SAID_S = 15.0


class Monitor(TextualApp[None]):
    """Shows a cluster until somebody quits."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #head, #broker { height: 1; padding: 0 1; background: $panel; }
    #broker { color: $text-muted; }
    #filter { display: none; height: 1; border: none; padding: 0 1; }
    ContentSwitcher { height: 1fr; }
    """
    BINDINGS = [
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "quit", show=False, priority=True),
        Binding("i", "about", "Info"),
        Binding("r", "result", "Result"),
        Binding("t", "traceback", "Traceback"),
        Binding("c,x", "revoke", "Revoke", key_display="c"),
        Binding("T", "terminate", "Terminate", key_display="T"),
        Binding("l", "limit", "Rate limit"),
        Binding("w", "workers", "Workers"),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("e", "events", "Events on"),
        Binding("j", "move(1)", show=False),
        Binding("k", "move(-1)", show=False),
        Binding("escape", "everything", show=False),
    ]

    def __init__(self, cluster: Cluster) -> None:
        super().__init__()
        self._cluster = cluster
        self._words = ""
        # Not looked up by their names each time: a last look may come when the screen is being taken down.
        self._head_line = Static(id="head", markup=False)
        self._broker_line = Static(id="broker", markup=False)
        self._filter_line = Input(placeholder="words to look for", id="filter")
        self._tasks = Listing(rows.TASK_COLUMNS, id="tasks")
        self._workers_list = Listing(rows.WORKER_COLUMNS, id="workers")
        self._listing = self._tasks  # which of the two is shown

    def compose(self) -> ComposeResult:
        yield from (self._head_line, self._broker_line, self._filter_line)
        with ContentSwitcher(initial="tasks"):
            yield from (self._tasks, self._workers_list)
        yield Footer()

    def on_mount(self) -> None:
        self._tasks.focus()
        self.set_interval(LOOK_S, self._look)
        self._look()

    def _look(self) -> None:
        state = self._cluster.state
        self._head_line.update(state.freeze_while(self._head))
        self._broker_line.update(self._cluster.line)
        found = rows.worker_rows if self._listing is self._workers_list else rows.task_rows
        self._listing.show(state.freeze_while(found, state, self._words))

    def _head(self) -> str:
        state = self._cluster.state
        online = sum(1 for _ in state.alive_workers())
        facts = [f"{online} of {len(state.workers)} workers online", f"{len(state.tasks)} tasks"]
        facts += [f"{state.event_count} events"]
        return " · ".join(facts + ([f"filter: {self._words}"] if self._words else []))

    # keys

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Enter was pressed, or the selected row clicked."""
        self.action_about()

    def _selected(self) -> Task | None:
        """Return the task under the cursor; None, having said so, if there is none."""
        task = self._cluster.state.tasks.get(self._listing.selected or "")
        if task is None or self._listing is not self._tasks:
            self.notify("no task is selected", severity="warning")
            return None
        return task

    def action_about(self) -> None:
        if task := self._selected():
            self.push_screen(Page(f"task {task.uuid}", rows.about(task)))

    def action_traceback(self) -> None:
        if task := self._selected():
            self.push_screen(Page(f"traceback of {task.name}", rows.traceback(task)))

    def action_result(self) -> None:
        task = self._selected()
        if task is None:
            return
        found = task

        def ask() -> None:
            stored = self._cluster.result(found.uuid) if found.state == "SUCCESS" else None
            page = Page(f"result of {found.name}", rows.result(found, stored))
            self._from_thread(partial(self.push_screen, page))

        self.run_worker(ask, thread=True, exit_on_error=False)

    def action_revoke(self) -> None:
        if task := self._selected():
            act = partial(self._cluster.revoke, task.uuid)
            self._do_if_wanted(f"Revoke {task.name} {task.uuid}? It is not run if it does not run yet.", act)

    def action_terminate(self) -> None:
        if task := self._selected():
            act = partial(self._cluster.revoke, task.uuid, terminate=True)
            self._do_if_wanted(f"Terminate {task.name} {task.uuid}? It is ended if it runs.", act)

    def _do_if_wanted(self, question: str, act: Callable[[], str]) -> None:
        self.push_screen(Ask(question), lambda wanted: self._do(act) if wanted else None)

    def action_limit(self) -> None:
        task = self._selected()
        if task is None or task.name is None:
            return
        name = task.name

        def answered(rate: str | None) -> None:
            if rate is not None:
                self._do(partial(self._cluster.limit, name, rate))

        self.push_screen(
            Prompt(f"How often may {name} start in each worker? (10/s, 10/m, 10/h; 0: no limit)"), answered
        )

    def action_events(self) -> None:
        self._do(self._cluster.enable_events)

    def _do(self, act: Callable[[], str]) -> None:
        """Tell the workers something in a thread, and show what they say."""

        def told() -> None:
            show = partial(self.notify, markup=False, timeout=SAID_S)
            try:
                said = act()
            except Exception as exc:  # the broker may be away
                said, show = str(exc), partial(show, severity="error")
            self._from_thread(partial(show, said))

        self.run_worker(told, thread=True, exit_on_error=False)

    def _from_thread(self, show: Callable[[], object]) -> None:
        """Show something; nobody is interested any more when the screen is gone."""
        with suppress(RuntimeError):
            self.call_from_thread(show)

    def action_workers(self) -> None:
        self._listing = self._workers_list if self._listing is self._tasks else self._tasks
        self.query_one(ContentSwitcher).current = self._listing.id
        self._listing.focus()
        self._look()

    def action_move(self, rows_down: int) -> None:
        self._listing.move_cursor(row=self._listing.cursor_row + rows_down)

    def action_filter(self) -> None:
        self._filter_line.display = True
        self._filter_line.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        if event.input is self._filter_line:
            self._words = event.value
            self._look()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.input is self._filter_line:
            event.input.display = False
            self._listing.focus()

    def action_everything(self) -> None:
        """Show what was filtered out again."""
        self._filter_line.value = ""
        self._filter_line.display = False
        self._listing.focus()
