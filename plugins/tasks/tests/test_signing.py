"""Signed messages, ours and Celery's."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bootsteps.errors import SettingError
from bootsteps_tasks import App, InvalidMessage, decode_body
from bootsteps_tasks.signing import Signer

cryptography = pytest.importorskip("cryptography", reason="pip install cryptography")

Identity = Callable[..., dict[str, str]]


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    """`identity("web")` makes a key, a certificate in the common folder, and returns the settings for them."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    store = tmp_path / "certs"
    store.mkdir()

    def make(name: str, days: int = 1, known: bool = True, password: str = "") -> dict[str, str]:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=9)).not_valid_after(now + timedelta(days=days))
        certificate = (store if known else tmp_path) / f"{name}.pem"
        certificate.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        lock: Any = serialization.NoEncryption()
        if password:
            lock = serialization.BestAvailableEncryption(password.encode())
        text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)
        (tmp_path / f"{name}.key").write_bytes(text)
        return {
            "security_key": str(tmp_path / f"{name}.key"),
            "security_certificate": str(certificate),
            "security_cert_store": str(store),
            **({"security_key_password": password} if password else {}),
        }

    return make


def app_of(settings: dict[str, str], **further: Any) -> App:
    both: dict[str, Any] = {"task_serializer": "auth", "accept_content": ("auth",), **settings, **further}
    return App("proj", broker="memory://", backend="disabled://", **both)


def published(app: App) -> Any:
    app.send_task("proj.add", (1, 2))
    with app.connection() as connection:
        return connection.default_channel.basic_get("celery")


def decoded(message: Any, accept: tuple[str, ...] = ("auth",)) -> Any:
    return decode_body(message.body, message.content_type, message.content_encoding, None, accept)[:2]


def test_a_signed_message_is_believed_and_an_unsigned_one_refused(identity: Identity) -> None:
    app = app_of(identity("web"))
    message = published(app)
    assert (message.content_type, message.content_encoding) == ("application/data", "utf-8")
    assert decoded(message) == ([1, 2], {})
    plain = published(App("proj", broker="memory://", backend="disabled://"))
    with pytest.raises(InvalidMessage, match="not among accept_content"):
        decoded(plain)


def test_a_changed_body_an_unknown_signer_and_an_old_certificate_are_refused(identity: Identity) -> None:
    from base64 import b64decode, b64encode

    web, stranger, old = identity("web"), identity("stranger", known=False), identity("old", days=-1)
    message = published(app_of(web))
    raw = b64decode(message.body)
    message._body = None
    message.body = b64encode(raw.replace(b"[[1, 2]", b"[[1, 9]"))
    with pytest.raises(InvalidMessage, match="signature is not that of 'web"):
        decoded(message)
    with pytest.raises(InvalidMessage, match=r"'stranger .* is not in security_cert_store"):
        decoded(published(app_of(stranger)))
    with pytest.raises(InvalidMessage, match="has expired"):
        decoded(published(app_of(old)))


def test_a_key_may_have_a_password_and_the_store_be_a_pattern(identity: Identity) -> None:
    settings = identity("web", password="hush")
    settings["security_cert_store"] += "/*.pem"
    assert decoded(published(app_of(settings))) == ([1, 2], {})


def test_wrong_settings_are_told_with_what_to_do(identity: Identity, tmp_path: Path) -> None:
    web = identity("web")
    (tmp_path / "empty").mkdir()
    for name, value, reason in (
        ("security_key", "", "needs security_key"),
        ("security_key", "/nowhere.pem", "security_key '/nowhere.pem' cannot be read"),
        ("security_certificate", web["security_key"], "certificate .* cannot be read"),
        ("security_cert_store", str(tmp_path / "empty"), "holds no certificate"),
        ("security_digest", "md17", "security_digest is 'md17'"),
    ):
        with pytest.raises(SettingError, match=reason):
            published(app_of({**web, name: value}))


def test_celery_believes_us_and_we_believe_celery(identity: Identity) -> None:
    pytest.importorskip("celery")
    names = ("serialization", "certificate", "key")
    serialization, certificate, key = (importlib.import_module(f"celery.security.{name}") for name in names)

    settings = identity("web")
    ours = Signer(app_of(settings).conf)
    theirs = serialization.SecureSerializer(
        key.PrivateKey(Path(settings["security_key"]).read_text()),
        certificate.Certificate(Path(settings["security_certificate"]).read_text()),
        certificate.FSCertStore(settings["security_cert_store"] + "/*.pem"),
    )
    value: list[Any] = [[1, "ü"], {}, None]
    assert theirs.deserialize(ours.dumps(value)) == value
    assert ours.loads(theirs.serialize(value)) == value
