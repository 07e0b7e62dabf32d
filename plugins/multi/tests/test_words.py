"""What `kernel multi` understands, without any process."""

from __future__ import annotations

import shlex
import socket
import sys

import pytest

from bootsteps import KernelError
from bootsteps_multi.nodes import expand, make_nodes
from bootsteps_multi.words import read, signal_named

HOST = socket.gethostname()


def nodes(line: str):
    return make_nodes(read(shlex.split(line), signals=False), ())


def options(line: str) -> dict[str, str]:
    """Return what each node gets, by its short name."""
    return {node.name.partition("@")[0]: " ".join(node.own) for node in nodes(line)}


def test_the_guides_ten_workers():
    found = options("10 -l INFO -Q:1-3 images,video -Q:4,5 data -Q default -L:4,5 DEBUG")
    assert list(found) == [f"celery{number}" for number in range(1, 11)]
    assert found["celery1"] == found["celery3"] == "-l INFO -Q images,video"
    assert found["celery4"] == found["celery5"] == "-l DEBUG -Q data"
    assert found["celery6"] == found["celery10"] == "-l INFO -Q default"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("3 -c 3 -c:1 10", {"celery1": "-c 10", "celery2": "-c 3", "celery3": "-c 3"}),
        ("3 -c 3 -c:celery1 10", {"celery1": "-c 10", "celery2": "-c 3", "celery3": "-c 3"}),
        ("image video data -c 3 -c:image 10", {"image": "-c 10", "video": "-c 3", "data": "-c 3"}),
        ("a b c d -c 3 -c:a,b,c 10", {"a": "-c 10", "b": "-c 10", "c": "-c 10", "d": "-c 3"}),
        ("a b --concurrency:2=4", {"a": "", "b": "--concurrency=4"}),
        ("2 -c:* 4 -c 1", {"celery1": "-c 4", "celery2": "-c 4"}),
        ("Leslie -E", {"Leslie": "-E"}),
        ("-E Leslie", {"Leslie": "-E"}),
        ("1 -A proj -l INFO -c4", {"celery1": "-A proj -l INFO -c 4"}),
        ("2 --range-prefix=worker -c 3", {"worker1": "-c 3", "worker2": "-c 3"}),
        ("1 -c 2 -- --without Mingle", {"celery1": "-c 2 --without Mingle"}),
        ("1 --append='-X a'", {"celery1": "-X a"}),
        ("1 --pidfile x.pid -c 2", {"celery1": "-c 2"}),
    ],
)
def test_options_go_where_they_are_meant(line, found):
    assert options(line) == found


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("2", [f"celery1@{HOST}", f"celery2@{HOST}"]),
        ("2 --hostname=w.example.com", ["celery1@w.example.com", "celery2@w.example.com"]),
        ("foo@worker.example.com bar@%h", ["foo@worker.example.com", f"bar@{HOST}"]),
        ('3 4 --prefix="" --suffix=h', ["celery3@h", "celery4@h"]),
        ("a --prefix=x- --suffix=h", ["x-a@h"]),
    ],
)
def test_names(line, names):
    assert [node.name for node in nodes(line)] == names


def test_the_command_of_a_node():
    [node] = nodes("w@h -c 2 --pidfile=/run/x/%n.pid --logfile=/log/%n%I.log --executable=/py")
    assert node.executable == "/py"
    assert " ".join(node.command) == (
        "-m bootsteps worker --detach -c 2 -n w@h --pidfile=/run/x/w.pid --logfile=/log/w%I.log"
    )
    assert str(node.pidfile) == "/run/x/w.pid"
    assert nodes("w")[0].executable == sys.executable


def test_what_only_the_worker_knows_is_left_to_it():
    assert expand("%n-%h-%d-%p-%i%I-%%", "w@a.b.c") == "w-a.b.c-b.c-w@a.b.c-%i%I-%%"


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("", "no node is named"),
        ("2 -c:3 1", "there is no node '3' for the options of '3'"),
        ("2 -c:2-5 1", "there is no node '2-5'"),
        ("image video -c:imag 1", "there is no node 'imag'"),
        ("w --loglevel INFO --statedb /x/y", "'/x/y' is no name of a node"),
    ],
)
def test_mistakes_are_told(line, what):
    with pytest.raises(KernelError, match=r"try: \S") as caught:
        nodes(line)
    assert what in str(caught.value)


def test_signals():
    assert [signal_named(text) for text in ("9", "KILL", "SIGTERM", "Q", "x", "999")] == [9, 9, 15, None, None, None]
    words = read(["a", "-KILL", "-Q", "x"], signals=True)
    assert (words.signum, words.options) == (9, {"-Q": "x"})
