"""Arguments and results that are pydantic models (`@app.task(pydantic=True)`)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, get_args, get_type_hints

from bootsteps.errors import MissingRequirement

__all__ = ["with_models"]


def with_models(fun: Callable[..., Any], name: str, options: Mapping[str, Any]) -> Callable[..., Any]:
    """Return the function, called with models where its annotations name them; a model that it returns is dumped.

    `options` are those of the task: `pydantic_strict`, `pydantic_context`, `pydantic_dump_kwargs`. Raises
    `MissingRequirement` without pydantic.
    """
    try:
        from pydantic import BaseModel
    except ImportError as exc:
        what = f"task {name!r} has pydantic=True, and pydantic is not installed"
        raise MissingRequirement(what, (), "pip install pydantic") from exc
    models = {key: model for key, hint in get_type_hints(fun).items() if (model := _model(hint, BaseModel))}
    models.pop("return", None)
    signature = inspect.signature(fun)
    checks = {"strict": options.get("pydantic_strict"), "context": options.get("pydantic_context")}
    dump = {"mode": "json", **(options.get("pydantic_dump_kwargs") or {})}

    @wraps(fun)
    def call(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        for key, model in models.items():
            value = bound.arguments.get(key)
            if value is not None and not isinstance(value, BaseModel):
                bound.arguments[key] = model.model_validate(value, **checks)
        result = fun(*bound.args, **bound.kwargs)
        return result.model_dump(**dump) if isinstance(result, BaseModel) else result

    return call


def _model(hint: Any, base: type) -> Any:
    """Return the model that an annotation names, alone or as `Model | None`."""
    found = [part for part in (hint, *get_args(hint)) if isinstance(part, type) and issubclass(part, base)]
    return found[0] if found else None
