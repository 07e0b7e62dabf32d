"""What the commands make of their arguments, and what they answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bootsteps import KernelError
from bootsteps_control_core import commands, inspecting


class Tasks:
    """Stands for the task control: remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.app = self
        self.tasks = {"t"}

    def get(self, key: Any) -> Any:
        return self

    def revoke(self, *args: Any) -> list[str]:
        self.asked.append(("revoke", *args))
        return args[0] if args[1] else []

    def revoke_by_stamps(self, *args: Any) -> list[str]:
        self.asked.append(("stamps", *args))
        return []

    def rate_limit(self, *args: Any) -> None:
        self.asked.append(("rate", *args))

    def time_limit(self, *args: Any) -> None:
        self.asked.append(("time", *args))


def run(command: Callable[..., Any], **arguments: Any) -> tuple[Any, Any]:
    tasks = Tasks()
    return command(tasks, **arguments), tasks.asked


def test_one_id_or_several_are_revoked() -> None:
    reply, asked = run(commands.revoke, task_id="a", terminate=False, signal="SIGTERM", destination=None)
    assert (reply, asked) == ({"ok": "tasks a flagged as revoked"}, [("revoke", ["a"], False, "SIGTERM")])
    reply, asked = run(commands.revoke, task_id=["b", "a"], terminate=True, signal="KILL")
    assert (reply, asked) == ({"ok": "terminate: b, a"}, [("revoke", ["b", "a"], True, "KILL")])
    reply, asked = run(commands.terminate, signal="HUP", task_id="a")
    assert (reply, asked) == ({"ok": "terminate: a"}, [("revoke", ["a"], True, "HUP")])


@pytest.mark.parametrize("ids", [None, 7, [7], [""], {"a": 1, 2: 3}])
def test_ids_that_are_none_are_refused(ids: Any) -> None:
    with pytest.raises(KernelError, match="task ids are texts"):
        run(commands.revoke, task_id=ids)


@pytest.mark.parametrize(
    "headers", [{"tenant": ["a", "b"], "n": 1}, ["tenant=a", "tenant=b", "n=1"], {"tenant": ("a", "b"), "n": "1"}]
)
def test_stamps_are_a_mapping_or_words(headers: Any) -> None:
    reply, asked = run(commands.revoke_by_stamped_headers, headers=headers)
    assert asked == [("stamps", {"tenant": ["a", "b"], "n": ["1"]}, False, "SIGTERM")]
    assert reply == {"ok": "headers tenant=a, tenant=b, n=1 flagged as revoked, but not terminated"}


def test_a_stamp_without_a_value_is_refused() -> None:
    with pytest.raises(KernelError, match="a stamp is name=value"):
        run(commands.revoke_by_stamped_headers, headers=["tenant"])


def test_limits_are_handed_on() -> None:
    assert run(commands.rate_limit, task_name="t", rate_limit="1/m") == (
        {"ok": "new rate limit set successfully"},
        [("rate", "t", "1/m")],
    )
    assert run(commands.rate_limit, task_name="t", rate_limit=0)[0] == {"ok": "rate limit disabled successfully"}
    assert run(commands.time_limit, task_name="t", soft=1) == (
        {"ok": "time limits set successfully"},
        [("time", "t", None, 1)],
    )
    assert run(inspecting.ping, further="ignored")[0] == {"ok": "pong"}
