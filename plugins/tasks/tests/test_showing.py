"""Settings that anybody may see."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from bootsteps import Setting, Settings
from bootsteps_tasks.showing import settings_in_use, shown


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("security_key_password", "geheim", "********"),
        ("AWS_SECRET", "geheim", "********"),
        ("api_url", "x", "********"),
        ("task_default_routing_key", "mail", "mail"),
        ("broker_url", "redis://:geheim@h:1/0", "redis://:********@h:1/0"),
        (
            "broker_url",
            ["amqp://u:geheim@h//", "amqp://u:geheim@i//"],
            ["amqp://u:********@h//", "amqp://u:********@i//"],
        ),
        (
            "broker_transport_options",
            {"password": "geheim", "x": {"token": "geheim"}, "y": 1},
            {"password": "********", "x": {"token": "********"}, "y": 1},
        ),
        ("result_expires", timedelta(minutes=1), 60.0),
        ("security_key_password", None, None),
    ],
)
def test_secrets_are_masked_wherever_they_stand(name: str, value: Any, expected: Any) -> None:
    assert shown(name, value) == expected
    assert "geheim" not in repr(shown(name, value))


def test_what_was_set_is_told_and_with_defaults_everything() -> None:
    conf = Settings({"b": 2}, [Setting("a", int, 1), Setting("b", int, 1)])
    assert settings_in_use(conf) == {"b": 2}
    assert settings_in_use(conf, with_defaults=True) == {"a": 1, "b": 2}


def test_an_object_is_told_by_its_repr() -> None:
    assert shown("x", {"y": (1, object)}) == {"y": [1, "<class 'object'>"]}
