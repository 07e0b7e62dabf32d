"""What a worker asks the others, and what it makes of the answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bootsteps.testing import check_step, make_blueprint
from bootsteps_consumer import CONNECTION
from bootsteps_consumer_mingle.commands import hello
from bootsteps_consumer_mingle.step import Mingle
from bootsteps_consumer_tasks import REVOKED
from bootsteps_consumer_tasks.revoked import Revoked
from bootsteps_tasks import App


class Party:
    """Stands for `app.control`: answers `hello` as it is told to."""

    def __init__(self, answer: Callable[[str, list[str]], Any]) -> None:
        self.asked: list[tuple[str, list[str]]] = []
        self.options: dict[str, Any] = {}
        self._answer = answer

    def inspect(self, **options: Any) -> Party:
        self.options = options
        return self

    def hello(self, own: str, revoked: list[str]) -> Any:
        self.asked.append((own, revoked))
        return self._answer(own, revoked)


def mingle(answer: Callable[[str, list[str]], Any], known: tuple[str, ...] = ()) -> tuple[Party, Revoked, App]:
    app, revoked, party = App("proj"), Revoked(), Party(answer)
    revoked.update(known)
    vars(app)["control"] = party
    blueprint = make_blueprint([Mingle], {CONNECTION: object(), REVOKED: revoked}, app)
    blueprint.apply()
    blueprint.start()
    blueprint.stop()
    return party, revoked, app


def test_it_learns_what_the_others_know(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    answers = {"b@h": {"revoked": ["x", "y"], "clock": 41}, "a@h": {"revoked": {"z": 12.5}, "clock": 7}}
    party, revoked, app = mingle(lambda own, ids: answers, ("mine",))
    assert party.asked == [("test@localhost", ["mine"])]
    assert revoked.snapshot() == ["mine", "z", "x", "y"]
    assert app.clock.value >= 42
    assert "met a@h, b@h" in caplog.text


@pytest.mark.parametrize(
    "answer",
    [
        None,
        {"a@h": None},
        {"a@h": {"error": "KeyError('hello')"}},
        {"a@h": "text"},
        {"a@h": {"revoked": 5, "clock": "x"}},
    ],
)
def test_strange_answers_hurt_nobody(answer: Any) -> None:
    assert mingle(lambda own, ids: answer)[1].snapshot() == []


def test_it_does_not_ask_itself() -> None:
    party, revoked, _ = mingle(lambda own, ids: {own: {"revoked": ["echo"], "clock": 1}})
    assert revoked.snapshot() == []
    assert party.options["pattern"] == r"(?!test@localhost$)"


def test_one_that_cannot_ask_starts_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    def refuses(own: str, ids: list[str]) -> Any:
        raise ConnectionResetError("cut")

    mingle(refuses)
    assert "could not be asked what is revoked: cut" in caplog.text


def test_keeps_the_contract() -> None:
    class Quiet(App):
        control: Any = Party(lambda own, ids: None)

    check_step(Mingle, {CONNECTION: object(), REVOKED: Revoked()}, app=Quiet)


class State:
    hostname = "w@h"

    def __init__(self) -> None:
        self.app, self.revoked = App("proj"), Revoked()

    def get(self, key: Any) -> Revoked:
        return self.revoked


def test_hello_exchanges_what_both_know() -> None:
    state: Any = State()
    state.revoked.add("mine")
    assert hello(state, "other@h", ["theirs"]) == {"revoked": ["mine", "theirs"], "clock": 1}
    assert hello(state, "old@h", {"older": 3.0}) == {"revoked": ["mine", "theirs", "older"], "clock": 2}
    assert hello(state, "w@h", ["echo"]) is None
    assert "echo" not in state.revoked


def test_it_can_be_left_out() -> None:
    app = App("proj", worker_without_mingle=True)
    blueprint = make_blueprint([Mingle], {CONNECTION: object(), REVOKED: Revoked()}, app)
    blueprint.apply()
    assert "Mingle" not in blueprint.order
