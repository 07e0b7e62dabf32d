"""What workers answered, as Celery's programs print it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pprint import pformat
from textwrap import indent
from typing import Any

import click

__all__ = ["online", "say", "say_json"]


def say(answer: Mapping[str, Any], body: bool = True) -> None:
    """Print the answer of a node: its name and how it went, then what it said."""
    for node, reply in answer.items():
        status, text = _told(reply)
        name = click.style(f"{node}: ", fg="cyan", bold=True)
        style = click.style(status, fg="green" if status == "OK" else "red", bold=True)
        click.echo(f"{click.style('->', bold=True)}  {name}{style}")
        if body and text:
            click.echo(indent(text, "    "))


def _told(reply: Any) -> tuple[str, str]:
    if isinstance(reply, Mapping) and "ok" in reply:
        return "OK", indent(_text(reply["ok"]), "    ")
    if isinstance(reply, Mapping) and "error" in reply:
        return "ERROR", indent(_text(reply["error"]), "    ")
    return "OK", _text(reply)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return json.dumps(value, sort_keys=True, indent=4, default=str)
    if isinstance(value, list | tuple):
        return "\n".join(f"* {item}" for item in value) if value else "- empty -"
    return pformat(value)


def say_json(answers: Any) -> None:
    """Print everything as one JSON text."""
    click.echo(json.dumps(answers, default=str))


def online(count: int) -> None:
    """Print how many nodes answered."""
    click.echo(f"\n{count} {'node' if count == 1 else 'nodes'} online.")
