"""The backend's URL and its options: `engine_options`, `table_names`, `table_schemas`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from bootsteps.errors import SettingError
from bootsteps_tasks.places import mask_url

__all__ = ["WHERE", "engine_options", "table_names", "url_of"]

WHERE = ("result backend db (bootsteps-result-sql)",)
FORMS = "db+postgresql+psycopg://user:password@host/name or db+sqlite:////absolute/path.db"


def url_of(url: str) -> Any:
    """Return SQLAlchemy's URL of a `db+...` one. Raises `SettingError` for what is none, or without its driver."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    plain = url.removeprefix("db+").removeprefix("database+")
    if plain == url or not urlsplit(plain).scheme:
        raise SettingError(f"result_backend {mask_url(url)!r} names no database", WHERE, FORMS)
    try:
        found = make_url(plain)
        found.get_dialect().import_dbapi()
    except (ArgumentError, NoSuchModuleError, ValueError) as exc:
        raise SettingError(f"result_backend {mask_url(url)!r} cannot be read: {exc}", WHERE, FORMS) from exc
    except ImportError as exc:
        what = f"result_backend {mask_url(url)!r} needs a driver that is not installed: {exc}"
        raise SettingError(what, WHERE, "pip install 'bootsteps-result-sql[postgresql]', or the driver itself") from exc
    return found


def engine_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords for `create_engine` among `result_backend_transport_options`."""
    found = options.get("engine_options", {})
    if not isinstance(found, Mapping):
        what = f"result_backend_transport_options: engine_options is {found!r}, not a mapping"
        raise SettingError(what, WHERE, "engine_options={'pool_size': 5}")
    return {"pool_pre_ping": True, **found}


def table_names(options: Mapping[str, Any], name: str) -> dict[str, str | None]:
    """Return names or schemas of the tables `task` and `group` among `result_backend_transport_options`."""
    found = options.get(name, {})
    if not isinstance(found, Mapping) or set(found) - {"task", "group"}:
        what = f"result_backend_transport_options: {name} is {found!r}, not a mapping from task and group"
        raise SettingError(what, WHERE, f"{name}={{'task': '...', 'group': '...'}}")
    return dict(found)
