"""Serializers, compression and what is accepted: our client, a Celery client, a real worker."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bootsteps_tasks import App
from workers import WorkerProcess, running_worker

TASKS = """
    from bootsteps_tasks import App
    app = App("proj", accept_content=("json", "pickle", "yaml", "msgpack"))

    @app.task
    def same(*args):
        return list(args)

    @app.task(serializer="yaml", compression="bzip2")
    def chosen(*args):
        return list(args)
"""


@pytest.fixture
def queue(tmp_path: Path) -> str:
    return f"contents-{tmp_path.name}"


@pytest.fixture
def worker(tmp_path: Path, redis_url: str, queue: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerProcess]:
    monkeypatch.setenv("C_FORCE_ROOT", "1")  # it accepts pickle
    with running_worker(tmp_path, "-c", "1", "-Q", queue, broker=redis_url, backend=redis_url, app=TASKS) as worker:
        yield worker


SERIALIZERS = ("json", "pickle", "yaml", "msgpack")
COMPRESSIONS = (None, "gzip", "bzip2", "lzma")


def test_every_serializer_and_compression_of_both_clients_arrives(
    worker: WorkerProcess, redis_url: str, queue: str
) -> None:
    celery = pytest.importorskip("celery")
    ours = App("client", broker=redis_url, backend=redis_url)
    theirs = celery.Celery("client", broker=redis_url, backend=redis_url)
    value = ["ü", 1, {"a": [1.5, None]}]
    for client in (ours, theirs):
        results = [
            client.send_task("proj.same", value, queue=queue, serializer=serializer, compression=compression)
            for serializer in SERIALIZERS
            for compression in COMPRESSIONS
        ]
        assert [result.get(timeout=30) for result in results] == [value] * len(results)
    ours.close()
    theirs.close()


def test_what_is_not_accepted_is_not_decoded_and_fails(tmp_path: Path, redis_url: str, queue: str) -> None:
    mark = tmp_path / "mark"

    class Evil:
        def __reduce__(self) -> Any:
            return open, (str(mark), "w")

    strict = TASKS.replace('accept_content=("json", "pickle", "yaml", "msgpack")', "")
    client = App("client", broker=redis_url, backend=redis_url)
    with running_worker(tmp_path, "-c", "1", "-Q", queue, broker=redis_url, backend=redis_url, app=strict):
        evil = client.send_task("proj.same", (Evil(),), queue=queue, serializer="pickle")
        with pytest.raises(Exception, match="not among accept_content"):
            evil.get(timeout=30)
        assert client.send_task("proj.same", (1,), queue=queue).get(timeout=30) == [1]
    assert not mark.exists()
    client.close()


def test_a_task_chooses_how_it_is_sent(tmp_path: Path, queue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "chosen_proj.py").write_text(textwrap.dedent(TASKS))
    monkeypatch.syspath_prepend(str(tmp_path))
    import chosen_proj  # type: ignore[import-not-found]

    app = chosen_proj.app
    app.conf.override({"broker_url": "memory://", "result_backend": "disabled://"})
    message = app.publish(chosen_proj.chosen, (1,), {}, {}).message
    assert (message.content_type, message.headers["compression"]) == ("application/x-yaml", "application/x-bz2")


def test_signed_messages_are_run_and_unsigned_ones_are_not(tmp_path: Path, redis_url: str, queue: str) -> None:
    settings = signing_settings(tmp_path)
    app = f"""
    from bootsteps_tasks import App
    app = App("proj", task_serializer="auth", accept_content=("auth",), result_accept_content=("json",), **{settings!r})

    @app.task
    def same(*args):
        return list(args)
    """
    signing = App(
        "client",
        broker=redis_url,
        backend=redis_url,
        task_serializer="auth",
        accept_content=("auth",),
        result_accept_content=("json",),
        **settings,
    )
    plain = App("client", broker=redis_url, backend=redis_url)
    with running_worker(tmp_path, "-c", "1", "-Q", queue, broker=redis_url, backend=redis_url, app=app):
        assert signing.send_task("proj.same", (1, "ü"), queue=queue).get(timeout=30) == [1, "ü"]
        with pytest.raises(Exception, match="not among accept_content"):
            plain.send_task("proj.same", (1,), queue=queue).get(timeout=30)
    signing.close()
    plain.close()


def signing_settings(folder: Path) -> dict[str, str]:
    pytest.importorskip("cryptography", reason="pip install cryptography")
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "web")])
    now, day = datetime.now(UTC), timedelta(days=1)
    builder = x509.CertificateBuilder(
        subject, subject, key.public_key(), x509.random_serial_number(), now - day, now + day
    )
    (folder / "web.pem").write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    unlocked = serialization.NoEncryption()
    text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, unlocked)
    (folder / "web.key").write_bytes(text)
    return {
        "security_key": str(folder / "web.key"),
        "security_certificate": str(folder / "web.pem"),
        "security_cert_store": str(folder / "*.pem"),
    }
