"""The command line: a group that finds its commands as plugins, and `kernel plugins`.

Nothing is imported until it is asked for: `kernel --version` knows no plugin, no networkx and no broker.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from bootsteps.cli.boot import AppCommand, BootCommand, Option, SettingOption, app_options, manners
from bootsteps.cli.session import Session
from bootsteps.cli.words import command_first, unknown_command
from bootsteps.discovery import Broken
from bootsteps.errors import KernelError, LoadError

__all__ = ["AppCommand", "BootCommand", "Group", "Option", "Session", "main", "root"]


class _BrokenCommand(click.Command):
    """Stands for a command that cannot be imported: listed as broken, and says why when called."""

    def __init__(self, name: str, broken: Broken) -> None:
        reason = broken.error.what.rpartition(": ")[2]
        super().__init__(name, short_help=f"[broken: {broken.plugin.dist}: {reason}]", add_help_option=False)
        self.context_settings = {"ignore_unknown_options": True, "allow_extra_args": True}
        self._error = broken.error

    def invoke(self, ctx: click.Context) -> NoReturn:
        raise self._error


class Group(click.Group):
    """A group of commands: an option of a command may stand before its name, as in `celery -b URL worker`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing:
            args = command_first(args, self.get_params(ctx), lambda: self.list_commands(ctx), ctx.command_path)
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and not name.startswith("-") and self.get_command(ctx, name) is None:
            raise unknown_command(name, self.list_commands(ctx), ctx.command_path)
        return super().resolve_command(ctx, args)


class _Root(Group):
    """Lists the installed commands; imports one when it is called or shown."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        session = ctx.ensure_object(Session)
        return sorted({"plugins", *(plugin.name for plugin in session.catalogue.group("kernel.commands"))})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "plugins":
            from bootsteps.cli.plugins import plugins

            return plugins
        session = ctx.ensure_object(Session)
        found = [plugin for plugin in session.catalogue.group("kernel.commands") if plugin.name == cmd_name]
        if not found:
            return None
        loaded: Any = session.catalogue.load(found[0])
        if len(found) > 1:
            both = "; ".join(map(str, found))
            loaded = Broken(found[0], LoadError(f"two commands are called {cmd_name!r}: {both}", (), "uninstall one"))
        elif not isinstance(loaded, Broken | click.Command):
            what = f"a kernel command must be a click command, not a {type(loaded).__name__}"
            loaded = Broken(found[0], LoadError(what, (str(found[0]),), "decorate it with @click.command()"))
        return _BrokenCommand(cmd_name, loaded) if isinstance(loaded, Broken) else loaded


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from bootsteps import __version__

        click.echo(f"kernel {__version__} (bootsteps)")
        ctx.exit()


@click.group(cls=_Root, params=[*app_options(), *manners()], context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
@click.pass_context
def root(
    ctx: click.Context,
    app: str | None,
    config: str | None,
    without: tuple[str, ...],
    on_plugin_error: str | None,
    workdir: str | None,
) -> None:
    """Compose, look at and run a worker made of installed plugins.

    \b
    kernel -A proj worker -l INFO      start a worker for the application in proj.py
    kernel worker --help               its options, by the distribution that reads them
    kernel -A proj inspect active      what the workers do
    kernel plugins list                what is installed: every other command comes from a plugin

    An option may stand before the name of its command or after it.
    """
    if os.environ.get("NO_COLOR"):
        ctx.color = False
    ctx.ensure_object(Session).take(app, without, on_plugin_error, workdir, config)


def _wrong_use(error: click.UsageError) -> KernelError:
    """Return click's error in our three parts."""
    command = error.ctx.command_path if error.ctx else "kernel"
    param = getattr(error, "param", None)
    whose = (param.origin,) if isinstance(param, SettingOption) else (command,)
    fix = f"{command} --help"
    if isinstance(error, click.NoSuchOption) and not error.possibilities:
        fix += " lists the options of what is installed; others come with a plugin"
    return KernelError(" ".join(error.format_message().split()).removesuffix("."), whose, fix)


def _width() -> int:
    """Return the width of a help page, as click finds it; but with `shutil` it would take a thirtieth longer."""
    columns = os.environ.get("COLUMNS", "")
    if not columns.isdecimal():
        try:
            columns = str(os.get_terminal_size(sys.__stdout__.fileno()).columns) if sys.__stdout__ else ""
        except (OSError, ValueError):
            columns = ""
    return max(min(int(columns or 0) or 80, 80) - 2, 50)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong use or a composition with faults, 130 interrupted."""
    try:
        status = root.main(argv, prog_name="kernel", standalone_mode=False, terminal_width=_width())
    except KernelError as exc:
        click.echo(f"Error: {exc}", err=True)
        sys.exit(exc.exit_status)
    except click.exceptions.NoArgsIsHelpError as exc:
        click.echo(exc.format_message(), err=True)
        sys.exit(exc.exit_code)
    except click.UsageError as exc:
        click.echo(f"Error: {_wrong_use(exc)}", err=True)
        sys.exit(exc.exit_code)
    except click.ClickException as exc:
        exc.show()
        sys.exit(exc.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    sys.exit(status if isinstance(status, int) else 0)
