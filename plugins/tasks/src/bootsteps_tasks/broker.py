"""From `broker_url` to a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bootsteps.errors import LackingCapability, MissingRequirement
from bootsteps_tasks.places import default_url, installed, load_scheme, mask_url, scheme_of, unknown_scheme

if TYPE_CHECKING:
    from bootsteps_tasks.app import App

__all__ = ["broker_url", "connect"]

GROUP = "kernel.transports"


def broker_url(app: App, write: bool = False) -> tuple[str, bool]:
    """Return the URL, and True when it is the embedded default since none is set. Raises `MissingRequirement`.

    `write`: the one to publish tasks to, where that is another.
    """
    url = app.conf["broker_write_url" if write else "broker_read_url"] or app.conf["broker_url"]
    if url:
        return str(url), False
    if "sqlite" not in installed(GROUP):
        raise MissingRequirement(
            "no broker: broker_url is not set, and the embedded broker is not installed",
            ("setting broker_url", f"application {app.main or 'default'!r}"),
            "pip install bootsteps-transport-sqlite\n  or:  export KERNEL_BROKER_URL=redis://localhost:6379/0",
        )
    return default_url(app.main, "broker.db", "broker_url"), True


def connect(app: App, write: bool = False) -> Any:
    """Return a `kombu.Connection`; a plugin's transport goes before kombu's own of the same scheme."""
    from bootsteps_tasks.connection import Connection

    url, _ = broker_url(app, write)
    transport = load_scheme(GROUP, scheme_of(url))
    if transport is None:
        _check_kombu_knows(url)
    return Connection(  # type: ignore[no-untyped-call]
        url,
        transport=transport,
        ssl=app.conf["broker_use_ssl"],
        login_method=app.conf["broker_login_method"],
        failover_strategy=app.conf["broker_failover_strategy"],
        connect_timeout=app.conf["broker_connection_timeout"],
        transport_options=_options(app, scheme_of(url)),
    )


def _options(app: App, scheme: str) -> dict[str, Any]:
    options = dict(app.conf["broker_transport_options"])
    name, usual = "native_delayed_delivery_queue_type", "quorum"
    kind = app.conf[f"broker_{name}"]
    return {name: kind, **options} if scheme in ("amqp", "amqps", "pyamqp") and kind != usual else options


def _check_kombu_knows(url: str) -> None:
    from kombu.transport import TRANSPORT_ALIASES, get_transport_cls

    if ":/" in url and "://" not in url:
        what = f"broker_url {mask_url(url)!r} is no URL: it has one slash where two belong"
        raise LackingCapability(what, ("setting broker_url",), "scheme://user:password@host:port/name")
    scheme = scheme_of(url).partition("+")[0]
    if scheme not in TRANSPORT_ALIASES and not ("." in scheme or ":" in scheme):
        raise unknown_scheme("broker_url", url, {*TRANSPORT_ALIASES, *installed(GROUP)})
    try:
        get_transport_cls(scheme)
    except ImportError as exc:
        what = f"broker_url {mask_url(url)!r} needs a client library that is not installed: {exc}"
        raise LackingCapability(what, ("setting broker_url",), f"pip install 'kombu[{scheme}]'") from exc
