# mypy: disable-error-code="no-untyped-call"
"""URL, files, modes, and what is refused before anything is written."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from kombu.connection import Connection
from kombu.entity import Queue

from bootsteps_transport_sqlite import Transport, UnusableBroker, connection
from bootsteps_transport_sqlite import place as place_module
from bootsteps_transport_sqlite.place import network_file_system, place_of
from bootsteps_transport_sqlite.store import check_sqlite

MOUNTS = r"""
/dev/vda / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
/dev/vdb /home/local ext4 rw 0 0
//nas/share /mnt/my\040share cifs rw 0 0
me@host: /mnt/ssh fuse.sshfs rw 0 0
tmpfs /mnt/ssh tmpfs rw 0 0
""".strip()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/app", None),
        ("/home/me/app", "nfs4"),
        ("/homework", None),
        ("/home/local/app", None),
        ("/mnt/my share/x", "cifs"),
        ("/mnt/ssh/x", None),  # another mount hides the network
    ],
)
def test_knows_network_file_systems(path: str, kind: str | None) -> None:
    assert network_file_system(Path(path), MOUNTS) == kind


def test_refuses_a_network_file_system_before_it_creates_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place_module, "_mounts", lambda: f"server:/x {tmp_path.resolve()} nfs rw 0 0")
    with connection(f"sqlite:///{tmp_path}/broker.db") as con, pytest.raises(UnusableBroker) as error:
        con.connect()
    text = str(error.value)
    assert "network file system (nfs)" in text
    assert "bootsteps-transport-sqlite" in text
    assert "try: a path on a local disk" in text
    assert not (tmp_path / "broker.db").exists()


def test_an_absolute_and_a_relative_url_name_their_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert place_of("sqlite:////var/a%20b/broker.db")[0].database == Path("/var/a b/broker.db")
    place, options = place_of("sqlite:///sub/broker.db?synchronous=full")
    assert place.database == tmp_path / "sub/broker.db"
    assert options == {"synchronous": "full"}


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite://host/x", "sqlite:////a/"])
def test_a_url_without_a_file_is_refused(url: str) -> None:
    with pytest.raises(UnusableBroker, match=r"try: sqlite:////"):
        place_of(url)


def test_files_belong_to_one_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = os.umask(0)
    try:
        with connection(f"sqlite:///{tmp_path}/new/broker.db") as con:
            with con.Consumer(Queue("q")):
                pass
            modes = {p: stat.S_IMODE(p.lstat().st_mode) for p in [tmp_path / "new", *(tmp_path / "new").rglob("*")]}
    finally:
        os.umask(old)
    assert {p.name for p in modes} >= {
        "new",
        "broker.db",
        "broker.db-wal",
        "broker.db-shm",
        "broker.db.owners",
    }
    assert any(p.suffix == ".lock" for p in modes)
    for path, mode in modes.items():
        assert mode == (0o700 if path.is_dir() else 0o600), path


def test_a_folder_of_owners_open_to_others_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broker.db.owners").mkdir()
    (tmp_path / "broker.db.owners").chmod(0o755)
    with (
        connection(f"sqlite:///{tmp_path}/broker.db") as con,
        pytest.raises(UnusableBroker, match="chmod 700"),
    ):
        con.connect()


def test_a_long_path_gets_its_sockets_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = Path("/tmp") / f"bts-{os.getpid()}"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    url = f"sqlite:///{tmp_path}/{'d' * 60}/{'e' * 60}/broker.db"
    try:
        with connection(url) as con:
            got: list[object] = []
            with con.Consumer(Queue("q"), callbacks=[lambda body, message: got.append(body)], no_ack=True):
                assert list(runtime.glob("*/*.sock"))
                with connection(url) as other:
                    other.Producer().publish("far", routing_key="q")
                con.drain_events(timeout=10)
            assert got == ["far"]
        assert not list(runtime.glob("*/*.sock"))
    finally:
        for folder in runtime.iterdir():
            folder.rmdir()
        runtime.rmdir()


def test_another_schema_version_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/broker.db"
    with connection(url) as con:
        con.connect()
    raw = sqlite3.connect(tmp_path / "broker.db")
    raw.execute("pragma user_version = 99")
    raw.close()
    with connection(url) as con, pytest.raises(UnusableBroker, match=r"schema 99, ours is 1"):
        con.connect()


def test_somebody_elses_database_is_refused(tmp_path: Path) -> None:
    raw = sqlite3.connect(tmp_path / "theirs.db")
    raw.execute("create table theirs(x)")
    raw.close()
    with (
        connection(f"sqlite:///{tmp_path}/theirs.db") as con,
        pytest.raises(UnusableBroker, match="no broker file"),
    ):
        con.connect()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("hello " * 1000)
    with (
        connection(f"sqlite:///{tmp_path}/text.db") as con,
        pytest.raises(UnusableBroker, match="no SQLite file"),
    ):
        con.connect()


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_made_is_refused() -> None:
    with (
        connection("sqlite:////proc/none/broker.db") as con,
        pytest.raises(UnusableBroker, match="cannot be made"),
    ):
        con.connect()


def test_an_old_sqlite_is_refused() -> None:
    with pytest.raises(UnusableBroker, match=r"3\.34\.1, the embedded broker needs 3\.35"):
        check_sqlite((3, 34, 1))
    check_sqlite((3, 35, 0))


@pytest.mark.parametrize("options", [{"synchronous": "off"}, {"busy_timeout": "long"}])
def test_an_unknown_option_value_is_refused(connect: Callable[..., Connection], options: dict[str, str]) -> None:
    with pytest.raises(UnusableBroker, match=f"transport option {next(iter(options))}="):
        connect(transport_options=options).connect()


def test_full_synchronisation_can_be_asked_for(tmp_path: Path) -> None:
    with connection(f"sqlite:///{tmp_path}/broker.db?synchronous=FULL") as con:
        con.connect()
        assert con.transport.broker.store.rows("pragma synchronous") == [(2,)]
        assert con.transport.broker.store.rows("pragma journal_mode") == [("wal",)]


def test_the_entry_point_costs_no_import_of_kombu_or_sqlite() -> None:
    (point,) = entry_points(group="kernel.transports", name="sqlite")
    assert point.load() is Transport
    code = "import sys, bootsteps_transport_sqlite; sys.exit(bool({'kombu', 'sqlite3'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_kombu_keeps_the_url(broker_url: str, connect: Callable[..., Connection]) -> None:
    con = Connection(broker_url, transport="bootsteps_transport_sqlite:Transport")
    assert con.as_uri() == broker_url
    assert con.clone().as_uri() == broker_url
    assert connect().is_evented
    assert connect().supports_exchange_type("fanout")
