"""Signed messages: the serializer `auth` (wire reference 2.4), as Celery's.

What is signed is the body: whoever can write to the broker can still repeat a message, or change its headers.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bootsteps.errors import MissingRequirement, SettingError

if TYPE_CHECKING:
    from bootsteps import Settings

__all__ = ["Signer", "enable_signing"]

SEPARATOR = b"\x00\x01"
WHERE = ("serializer auth (bootsteps-tasks)",)
USERS = ("task_serializer", "result_serializer")
LISTS = ("accept_content", "result_accept_content")


def enable_signing(conf: Settings) -> None:
    """Make kombu know the serializer `auth` if a setting names it. Raises `KernelError` for keys that are none.

    kombu has one registry in each process, so two applications in one process share the keys of the last.
    """
    named = {conf[name] for name in USERS} | {item for name in LISTS for item in conf[name] or ()}
    if "auth" not in named:
        return
    from kombu.serialization import registry

    signer = Signer(conf)
    registry.register("auth", signer.dumps, signer.loads, "application/data", "utf-8")


class Signer:
    """Signs with one key, and believes the certificates of one folder."""

    def __init__(self, conf: Settings) -> None:
        try:
            from cryptography.hazmat.primitives import hashes
        except ImportError as exc:
            what = "the serializer 'auth' needs the package cryptography, which is not installed"
            raise MissingRequirement(what, WHERE, "pip install 'bootsteps-tasks[auth]'") from exc
        digest = conf["security_digest"]
        algorithm = getattr(hashes, str(digest).upper(), None)
        if algorithm is None:
            raise SettingError(f"security_digest is {digest!r}, which is none", WHERE, "security_digest = 'sha256'")
        self._digest: Any = algorithm()
        self._key = _key(conf)
        self._name = _name(_certificate(Path(_needed(conf, "security_certificate"))))
        self._inner = frozenset({"json", *(item for item in conf["accept_content"] if item != "auth")})
        self._store = _certificates(conf)

    def dumps(self, value: Any) -> str:
        """Return the value as signed text."""
        from kombu.serialization import dumps

        content_type, encoding, payload = dumps(value, serializer="json")
        body = payload.encode(encoding) if isinstance(payload, str) else payload
        signature = self._key.sign(body, self._padding(), self._digest)
        fields = (b64encode(self._name.encode()), b64encode(signature), content_type.encode(), encoding.encode(), body)
        return b64encode(SEPARATOR.join(fields)).decode()

    def loads(self, payload: Any) -> Any:
        """Return the value. Raises ValueError for a signature that is not of a known, valid certificate."""
        from kombu.serialization import loads, prepare_accept_content

        text = payload.encode() if isinstance(payload, str) else bytes(payload)
        signer, signature, content_type, encoding, body = b64decode(text).split(SEPARATOR, 4)
        self._verify(b64decode(signer).decode(), b64decode(signature), body)
        accept = prepare_accept_content(set(self._inner))
        return loads(body, content_type.decode(), encoding.decode(), accept=accept, force=True)

    def _verify(self, signer: str, signature: bytes, body: bytes) -> None:
        from cryptography.exceptions import InvalidSignature

        certificate = self._store.get(signer)
        if certificate is None:
            raise ValueError(f"it is signed by {signer!r}, whose certificate is not in security_cert_store")
        if datetime.now(UTC) >= certificate.not_valid_after_utc:
            raise ValueError(f"the certificate of its signer {signer!r} has expired")
        try:
            certificate.public_key().verify(signature, body, self._padding(), self._digest)
        except InvalidSignature:
            raise ValueError(f"its signature is not that of {signer!r}") from None

    def _padding(self) -> Any:
        from cryptography.hazmat.primitives.asymmetric import padding

        return padding.PSS(mgf=padding.MGF1(self._digest), salt_length=padding.PSS.MAX_LENGTH)


def _needed(conf: Settings, name: str) -> str:
    if not conf[name]:
        raise SettingError(f"the serializer 'auth' needs {name}, which is not set", WHERE, f"{name} = '/path/to/a.pem'")
    return str(conf[name])


def _key(conf: Settings) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    path, password = Path(_needed(conf, "security_key")), conf["security_key_password"]
    try:
        return load_pem_private_key(path.read_bytes(), password.encode() if password else None)
    except (OSError, ValueError, TypeError) as exc:
        raise SettingError(f"security_key {str(path)!r} cannot be read: {exc}", WHERE, "name a PEM file") from exc


def _certificates(conf: Settings) -> dict[str, Any]:
    """Return the certificates that `security_cert_store` (a folder, or a glob as in Celery) names, by signer."""
    given = Path(_needed(conf, "security_cert_store"))
    paths = sorted(given.glob("*")) if given.is_dir() else sorted(given.parent.glob(given.name))
    found = [_certificate(path) for path in paths if path.is_file()]
    if not found:
        what = f"security_cert_store {str(given)!r} holds no certificate, so nobody would be believed"
        raise SettingError(what, WHERE, "name a folder with PEM files, or a pattern like /etc/certs/*.pem")
    return {_name(certificate): certificate for certificate in found}


def _certificate(path: Path) -> Any:
    from cryptography.x509 import load_pem_x509_certificate

    try:
        return load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as exc:
        what = f"certificate {str(path)!r} cannot be read: {exc}"
        raise SettingError(what, WHERE, "a PEM file with one certificate") from exc


def _name(certificate: Any) -> str:
    """Return what messages call the certificate: issuer and serial number."""
    issuer = " ".join(str(part.value) for part in certificate.issuer)
    return f"{issuer} {certificate.serial_number}"
