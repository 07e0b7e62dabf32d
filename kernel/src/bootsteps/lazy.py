"""Names of a package that are imported when they are first asked for (PEP 562)."""

from __future__ import annotations

TYPE_CHECKING = False  # not typing's: this module is read by programs that only answer
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["lazily"]


def lazily(package: str, places: Mapping[str, str]) -> Callable[[str], object]:
    """Return the `__getattr__` of a package: each of `places` is a name, and the module of the package that has it.

    For an `__init__` that publishes the keys of its steps, which everybody wants, and what the steps are made of, which
    `kernel worker --help` does not. No module may have the name that it holds: once imported it would be found instead.
    """

    def find(name: str) -> object:
        import sys
        from importlib import import_module

        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = getattr(import_module(f"{package}.{places[name]}"), name)
        setattr(sys.modules[package], name, found)
        return found

    return find
