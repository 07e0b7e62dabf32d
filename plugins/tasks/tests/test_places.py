from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import bootsteps
from bootsteps import Catalogue
from bootsteps.errors import DuplicateName, LackingCapability, LoadError, MissingRequirement, UnknownName, WrongType
from bootsteps_tasks import App, mask_url, places
from bootsteps_tasks.backend import Backend, DisabledBackend, make_backends

TRANSPORT = "from kombu.transport.memory import Transport\n"


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("amqp://user:secret@host/vhost", "amqp://user:**@host/vhost"),
        ("redis://:secret@host/0", "redis://:**@host/0"),
        ("redis://:p/a@s:s@host/0", "redis://:**@host/0"),
        ("redis://:semi;colon@host/0", "redis://:**@host/0"),
        ("amqp://a:b@h1;amqp://c:d@h2", "amqp://a:**@h1;amqp://c:**@h2"),
        ("redis://host/0?password=secret&db=1", "redis://host/0?password=**&db=1"),
        ("db+postgresql://u:p@h/d", "db+postgresql://u:**@h/d"),
        ("sqlite:////var/a:b@c/x.db", "sqlite:////var/a:b@c/x.db"),
    ],
)
def test_a_password_is_masked(url: str, masked: str) -> None:
    assert mask_url(url) == masked


def test_the_state_folder_is_the_users_and_the_applications(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert places.state_folder("proj") == tmp_path / "state" / "bootsteps" / "proj"
    assert places.state_folder(None).name == "default"
    assert places.state_folder("../../etc").parent == tmp_path / "state" / "bootsteps"
    assert places.state_folder("..").name == "default"
    for relative in ("", "some/where"):
        monkeypatch.setenv("XDG_STATE_HOME", relative)
        monkeypatch.setenv("HOME", str(tmp_path))
        assert places.state_folder("proj") == tmp_path / ".local/state/bootsteps/proj"


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    present = [plugin for plugin in bootsteps.scan() if plugin.name not in names]
    monkeypatch.setattr(places, "catalogue", cache(lambda: Catalogue(present)))


def test_without_a_broker_url_the_embedded_broker_is_used(install: object, tmp_path: Path) -> None:
    install("kernel.transports", "sqlite = fake_default:Transport", TRANSPORT)  # type: ignore[operator]
    url, is_default = App("proj").broker_url()
    assert (url, is_default) == (f"sqlite:///{tmp_path}/state/bootsteps/proj/broker.db", True)
    assert App("proj", broker="memory://").broker_url() == ("memory://", False)


def test_without_a_broker_at_all_two_ways_out_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "sqlite")
    with pytest.raises(MissingRequirement, match="no broker") as caught:
        App("proj").connection()
    assert "pip install bootsteps-transport-sqlite" in str(caught.value)
    assert "KERNEL_BROKER_URL=redis://" in str(caught.value)


def test_a_plugins_transport_goes_before_kombus(install: object) -> None:
    code = TRANSPORT + "class Mine(Transport):\n    driver_type = 'mine'\n"
    install("kernel.transports", "memory = fake_mine:Mine", code)  # type: ignore[operator]
    assert App("proj", broker="memory://").connection().transport.driver_type == "mine"


def test_while_a_connection_closes_other_threads_get_no_timeout_for_their_sockets(install: object) -> None:
    code = f"""{TRANSPORT}import socket
class Mine(Transport):
    seen = []
    def close_connection(self, connection):
        self.seen.append(socket.getdefaulttimeout())
        super().close_connection(connection)
"""
    install("kernel.transports", "memory = fake_closing:Mine", code)  # type: ignore[operator]
    connection = App("proj", broker="memory://").connection()
    transport = connection.transport
    connection.connect()
    connection.collect(socket_timeout=1)
    assert transport.seen == [None]
    assert not connection.connected


def test_the_whole_url_reaches_a_transport_that_parses_it(install: object) -> None:
    code = TRANSPORT + "class Mine(Transport):\n    can_parse_url = True\n"
    install("kernel.transports", "file = fake_parsing:Mine", code)  # type: ignore[operator]
    connection = App("proj", broker="file:////var/x.db", broker_connection_timeout=7).connection()
    assert (connection.hostname, connection.connect_timeout) == ("file:////var/x.db", 7.0)


def test_two_plugins_of_one_scheme_are_an_error_that_names_both(install: object) -> None:
    for module in ("fake_first", "fake_second"):
        install("kernel.transports", f"{module}x = {module}:Transport", TRANSPORT)  # type: ignore[operator]
    for info in Path(sys.path[0]).parent.glob("site-*/*/entry_points.txt"):
        info.write_text("[kernel.transports]\nboth = fake_first:Transport\n")
    with pytest.raises(DuplicateName, match="2 plugins bring the scheme 'both'") as caught:
        App("proj", broker="both://").connection()
    assert "fake-fake-firstx 1.0" in str(caught.value)
    assert "fake-fake-secondx 1.0" in str(caught.value)


def test_a_broken_transport_names_its_plugin(install: object) -> None:
    install("kernel.transports", "bad = fake_bad:Transport", "raise RuntimeError('boom')\n")  # type: ignore[operator]
    with pytest.raises(LoadError, match=r"'bad' cannot be loaded .* boom"):
        App("proj", broker="bad://").connection()


def test_an_unknown_scheme_is_an_error_with_a_near_match_and_no_password() -> None:
    with pytest.raises(UnknownName) as caught:
        App("proj", broker="rediss3://:secret@host/0").connection()
    assert "did you mean 'rediss'?" in str(caught.value)
    assert "amqp" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_client_library_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("kombu")
    monkeypatch.setitem(sys.modules, "kombu.transport.consul", None)
    with pytest.raises(LackingCapability, match="client library") as caught:
        App("proj", broker="consul://host").connection()
    assert "pip install 'kombu[consul]'" in str(caught.value)


def test_without_a_backend_results_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "sqlite")
    backend = App("proj").backend
    assert isinstance(backend, DisabledBackend)
    assert isinstance(backend, Backend)
    backend.store([{"task_id": "x"}])
    asks = (lambda: backend.get("x"), lambda: backend.get_many(["x"]), lambda: backend.wait(["x"]))
    for ask in (*asks, lambda: backend.forget("x")):
        with pytest.raises(MissingRequirement, match="results are not stored") as caught:
            ask()
        assert "pip install bootsteps-result-sqlite" in str(caught.value)


def test_a_backend_is_called_with_the_application_and_the_url(install: object, tmp_path: Path) -> None:
    code = "class Mine:\n    def __init__(self, app, url):\n        self.args = app.main, url\n"
    install("kernel.backends", "mine = fake_store:Mine", code)  # type: ignore[operator]
    app = App("proj", backend="mine://host/1")
    assert app.backend.args == ("proj", "mine://host/1")  # type: ignore[attr-defined]
    assert app.backend is app.backend
    install("kernel.backends", "none = fake_none:nothing", "nothing = 5\n")  # type: ignore[operator]
    with pytest.raises(WrongType, match="'none' is a int"):
        _ = App("proj", backend="none://").backend
    with pytest.raises(UnknownName, match="did you mean 'mine'"):
        _ = App("proj", backend="mina://").backend


def test_backends_of_tasks_with_results_are_made_before_the_children_are(
    install: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bootsteps_tasks.shared._declared", [])  # those of other tests have results
    code = "made = []\nclass Mine:\n    def __init__(self, app, url):\n        made.append(url)\n"
    code += "        if url.endswith('broken'): raise OSError('no')\n"
    install("kernel.backends", "mine = fake_early:Mine", code)  # type: ignore[operator]
    app = App("proj", backend="mine://usual")
    app.task(name="quiet", ignore_result=True)(lambda: None)
    app.load()  # the tasks of the protocol, too, which have results
    make_backends(app)
    made = sys.modules["fake_early"].made if "fake_early" in sys.modules else []
    assert made == []
    app.task(name="loud")(lambda: None)
    app.task(name="own", backend="mine://own")(lambda: None)
    app.task(name="worse", backend="mine://broken")(lambda: None)
    make_backends(app)
    assert sorted(sys.modules["fake_early"].made) == ["mine://broken", "mine://own", "mine://usual"]


def test_an_installed_plugin_adds_to_applications(install: object) -> None:
    code = "class Greeter:\n    def __init__(self, app): self.app = app\n"
    install("app.attributes", "greeter = fake_greeter:Greeter", code)  # type: ignore[operator]
    app: Any = App("proj")
    found = app.greeter
    assert found.app is app
    assert app.greeter is found
    with pytest.raises(AttributeError, match="an application has no 'greter'; did you mean 'greeter'"):
        app.greter  # noqa: B018
    assert not hasattr(app, "zzzzzz")
