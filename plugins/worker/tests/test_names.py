"""Node names, as `-n` gives them."""

from __future__ import annotations

import pytest

from bootsteps_worker.names import expand_path, node_name

HOST = "foo.example.com"


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (None, "celery@foo.example.com"),
        ("worker1@%h", "worker1@foo.example.com"),
        ("worker1@%n", "worker1@foo"),
        ("worker1@%d", "worker1@example.com"),
        ("worker1@%n.%d", "worker1@foo.example.com"),
        ("here", "celery@here"),
        ("%n", "celery@foo"),
        ("w1@%%h", "w1@%h"),  # as people write it for supervisor, which makes one percent sign of two
        ("100%%@%h", "100%@foo.example.com"),
        ("w%x@%h", "w%x@foo.example.com"),
    ],
)
def test_a_name_is_expanded(given: str | None, name: str) -> None:
    assert node_name(given, HOST) == name


def test_a_host_without_a_domain() -> None:
    assert node_name("w@%h,%n,%d", "vm") == "w@vm,vm,"


@pytest.mark.parametrize(
    ("path", "place", "expanded"),
    [
        ("/log/%p.log", 0, "/log/george@foo.example.com.log"),
        ("%n at %h in %d", 0, "george at foo.example.com in example.com"),
        ("%n%I.log", 0, "george.log"),
        ("%n%I.log", 3, "george-3.log"),
        ("%i.log", 0, "0.log"),
        ("%i.log", 3, "3.log"),
        ("100%%i", 3, "100%i"),
    ],
)
def test_the_path_of_a_file_is_expanded(path: str, place: int, expanded: str) -> None:
    assert expand_path(path, "george@foo.example.com", place) == expanded
