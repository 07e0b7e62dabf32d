"""The step `Control`."""

from __future__ import annotations

from bootsteps import App, Blueprint, Catalogue, Parent, ServiceKey, Step, compose
from bootsteps_consumer_control.step import Control


def test_it_is_not_tied_to_the_connection_of_the_tasks() -> None:
    class First(Step):
        name = "Connection"
        first = True

    class Tied(Step):
        pass

    class Fake(Step):
        provides = (ServiceKey("hub"), ServiceKey("timer"))
        independent = True  # a worker step in truth

    app = App()
    app.steps["test"].update([First, Tied, Fake, Control])
    plan = compose(app, Catalogue(()), "test")
    blueprint = Blueprint(plan, Parent(app))
    assert "Control" not in blueprint.dependants("Connection")
    assert "Tied" in blueprint.dependants("Connection")
    assert "Control" in blueprint.dependants("Fake")
