"""A plugin for mypy: checks what `task.apply_async(args, kwargs)` and `task.apply(args, kwargs)` are given.

`delay` needs none: Python's types can say that it takes what the function takes. They cannot say that a tuple holds
that. In `pyproject.toml`:

    [tool.mypy]
    plugins = ["bootsteps_tasks.mypy_plugin"]

Checked are arguments written out: a tuple (or a list) for `args`, a dict with literal keys for `kwargs`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from mypy.errorcodes import ARG_TYPE, CALL_ARG
from mypy.nodes import ArgKind, DictExpr, Expression, ListExpr, StrExpr, TupleExpr
from mypy.plugin import MethodContext, Plugin
from mypy.subtypes import is_subtype
from mypy.types import Instance, Parameters, Type, get_proper_type

__all__ = ["plugin"]

TASK = "bootsteps_tasks.task.Task"
METHODS = {f"{TASK}.apply_async", f"{TASK}.apply"}


@dataclass
class _Call:
    """What is known of one call: the types of the positional arguments, and of those by name."""

    positional: list[Type] = field(default_factory=list)
    named: dict[str, Type] = field(default_factory=dict)


class TaskPlugin(Plugin):
    """See the module."""

    def get_method_hook(self, fullname: str) -> Callable[[MethodContext], Type] | None:
        return _check if fullname in METHODS else None


def plugin(version: str) -> type[Plugin]:
    """What mypy asks for."""
    return TaskPlugin


def _check(ctx: MethodContext) -> Type:
    parameters = _parameters(ctx)
    call = _read(ctx)
    if parameters is not None and call is not None:
        _compare(ctx, parameters, call)
    return ctx.default_return_type


def _parameters(ctx: MethodContext) -> Parameters | None:
    """Return what the function takes; None when that is not known, or anything goes."""
    task = get_proper_type(ctx.type)
    bases = [task] if isinstance(task, Instance) else []
    for instance in bases:
        found = get_proper_type(instance.args[0]) if instance.args else None
        if isinstance(found, Parameters) and not any(kind.is_star() for kind in found.arg_kinds):
            return found
    return None


def _read(ctx: MethodContext) -> _Call | None:
    """Return what the call gives; None when it is not written out here."""
    given = dict(zip(ctx.callee_arg_names, ctx.args, strict=False))
    call = _Call()
    for expression in given.get("args") or ():
        if not isinstance(expression, TupleExpr | ListExpr):
            if not _is_none(ctx, expression):
                return None
            continue
        call.positional = [ctx.api.get_expression_type(item) for item in expression.items]
    for expression in given.get("kwargs") or ():
        if not isinstance(expression, DictExpr):
            if not _is_none(ctx, expression):
                return None
            continue
        for key, value in expression.items:
            if not isinstance(key, StrExpr):
                return None
            call.named[key.value] = ctx.api.get_expression_type(value)
    return call


def _is_none(ctx: MethodContext, expression: Expression) -> bool:
    return str(ctx.api.get_expression_type(expression)) == "None"


def _compare(ctx: MethodContext, takes: Parameters, call: _Call) -> None:
    method, formals = "apply_async", list(zip(takes.arg_names, takes.arg_kinds, takes.arg_types, strict=True))
    places = [formal for formal in formals if formal[1].is_positional()]
    if len(call.positional) > len(places):
        ctx.api.fail(f'Too many arguments in the "args" of "{method}"', ctx.context, code=CALL_ARG)
        return
    filled: set[str | None] = set()
    for given, (name, _, wanted) in zip(call.positional, places, strict=False):
        filled.add(name)
        _compare_one(ctx, given, wanted, name)
    by_name = {name: wanted for name, _, wanted in formals if name}
    for name, given in call.named.items():
        if name not in by_name or name in filled:
            ctx.api.fail(f'Unexpected argument "{name}" in the "kwargs" of "{method}"', ctx.context, code=CALL_ARG)
            continue
        filled.add(name)
        _compare_one(ctx, given, by_name[name], name)
    required = {name for name, kind, _ in formals if kind in (ArgKind.ARG_POS, ArgKind.ARG_NAMED)}
    for name in sorted(str(name) for name in required - filled):
        ctx.api.fail(f'Missing argument "{name}" of the task', ctx.context, code=CALL_ARG)


def _compare_one(ctx: MethodContext, given: Type, wanted: Type, name: str | None) -> None:
    if not is_subtype(given, wanted):
        ctx.api.fail(f'Argument "{name}" of the task is a "{given}"; expected "{wanted}"', ctx.context, code=ARG_TYPE)
