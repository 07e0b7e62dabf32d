"""Commands that take the options of the whole composition."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import click

from bootsteps.cli.session import Declared, Session, option_name
from bootsteps.collecting import without_collector
from bootsteps.errors import DuplicateName, SettingError
from bootsteps.settings import Setting, variable_of

__all__ = ["AppCommand", "BootCommand", "Option", "app_options", "manners"]


def app_options() -> list[click.Parameter]:
    """Return the options that choose the application and the plugins."""
    how = click.Choice(["abort", "quarantine"])
    return [
        click.Option(["-A", "--app"], metavar="MODULE[:APP]", help="The application to work for."),
        click.Option(["--config"], metavar="MODULE|FILE", help="Settings: a module, a .py or a .toml file."),
        click.Option(["--without"], multiple=True, metavar="NAME", help="Switch a plugin off (repeatable)."),
        click.Option(["--on-plugin-error"], type=how, help="What to do with a plugin that cannot be imported."),
        click.Option(["--workdir"], metavar="FOLDER", help="Go to this folder first; the application is there."),
    ]


def manners(taken: Collection[str] = ()) -> list[click.Parameter]:
    """Return the options that say how to print, less the flags that a command has taken for itself."""
    whole = {
        ("-q", "--quiet"): (_hush, "Print the answer only: no banner, no notes."),
        ("-C", "--no-color"): (_pale, "No colours; NO_COLOR in the environment says the same."),
    }
    kept = {flags: [flag for flag in flags if flag not in taken] for flags in whole}
    return [
        click.Option(kept[flags], is_flag=True, help=text, expose_value=False, callback=heed)
        for flags, (heed, text) in whole.items()
        if kept[flags]
    ]


def _hush(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(Session).quiet = True


def _pale(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        ctx.color = False
        os.environ["NO_COLOR"] = "1"  # what this program starts hears of it, too


def _flags(params: Iterable[click.Parameter]) -> set[str]:
    return {flag for param in params for flag in (*param.opts, *param.secondary_opts)}


def Option(*flags: str, **attributes: Any) -> click.Option:
    """Return a click option from optparse's words, as the Extensions guide uses them for `app.user_options`.

    Known attributes: `action` (`store`, `store_true`, `store_false`, `append`, `count`), `type`, `default`, `dest`,
    `metavar`, `choices`, `help`.
    """
    action = attributes.pop("action", "store")
    dest = attributes.pop("dest", None)
    if choices := attributes.pop("choices", None):
        attributes["type"] = click.Choice(list(choices))
    extra: dict[str, Any] | None = {
        "store": {}, "append": {"multiple": True}, "count": {"count": True},
        "store_true": {"is_flag": True, "flag_value": True}, "store_false": {"is_flag": True, "flag_value": False},
    }.get(action)  # fmt: skip
    if extra is None:
        raise ValueError(f"Option does not know action={action!r}")
    return click.Option([*flags, *([dest] if dest else [])], **extra, **attributes)


class AppCommand(click.Command):
    """A command that takes `-A`, `--config`, `--without` and `--on-plugin-error` after its name as well as before.

    It also takes the options of the application's own settings, as `--broker`, and those of
    `app.user_options["preload"]`, and tells the values of these by the hook `user_preload_options` before it runs.
    """

    #: The keys of `app.user_options` whose options this command takes.
    user_options: tuple[str, ...] = ("preload",)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.ensure_object(Session).take(*_early(args))
        with without_collector():  # the application and every step are imported here, for their options
            return super().parse_args(ctx, args)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The command's own; then the options of the application; then those that were read before all others."""
        options = app_options()
        for option in options:
            option.expose_value = False
        if "bootsteps.params" not in ctx.meta:
            ctx.meta["bootsteps.params"] = self._more(ctx)
        params = [*super().get_params(ctx), *ctx.meta["bootsteps.params"], *options]
        return [*params, *manners(_flags(params))]

    def _more(self, ctx: click.Context) -> list[click.Parameter]:
        session = ctx.ensure_object(Session)
        if not session.has_app():
            return []
        own = self._of_application(session, {})
        return [*self._places(session, _flags([*self.params, *app_options(), *own])), *own]

    def _places(self, session: Session, taken: Collection[str]) -> list[click.Parameter]:
        """Return options for the application's own settings, less the flags that this command has for other things."""
        app, command = session.app(), self.name or ""
        left = [(setting, [flag for flag in setting.flags if flag not in taken]) for setting in app.settings]
        return [SettingOption(setting, "application", repr(app), command, flags) for setting, flags in left if flags]

    def _of_application(self, session: Session, taken: Mapping[str, str]) -> list[click.Parameter]:
        """Return the application's own options. Raises `DuplicateName` if one is among those `taken`, or another's."""
        known = dict(taken) | {f: f"kernel {self.name}" for param in (*self.params, *app_options()) for f in param.opts}
        found: list[click.Parameter] = []
        for key in self.user_options:
            mine = f"app.user_options[{key!r}]"
            for option in sorted(session.app().user_options[key], key=lambda option: str(option.opts)):
                if clash := sorted(set(known) & set(option.opts)):
                    whose = (known[clash[0]], mine)
                    raise DuplicateName(f"option {clash[0]!r} is declared twice", whose, "rename it in the application")
                known |= dict.fromkeys(option.opts, mine)
                option.expose_value, option.callback = False, _keep_user_option
                found.append(option)
        return found

    def invoke(self, ctx: click.Context) -> Any:
        session = ctx.ensure_object(Session)
        if session.has_app() and (preload := session.app().user_options["preload"]):
            values = {option.name: session.extra.get(option.name) for option in preload}
            session.app().hooks.announce("user_preload_options", command=self.name, app=session.app(), options=values)
        return super().invoke(ctx)


class BootCommand(AppCommand):
    """A command that takes every setting of the installed steps, and the application's own options, as its options.

    Their values go into the application's settings above all others; the command's function gets its own parameters
    only, and the `Session` by `@click.pass_obj`.
    """

    user_options = ("preload", "worker")

    def _more(self, ctx: click.Context) -> list[click.Parameter]:
        session = ctx.ensure_object(Session)
        declared = session.declared()
        settings = self._settings(declared)
        taken = {flag: origin for setting, _, origin in declared for flag in setting.flags}
        return [*settings, *self._of_application(session, taken)]

    def _settings(self, declared: Sequence[Declared]) -> list[click.Parameter]:
        ours = {flag for param in (*self.params, *app_options()) for flag in param.opts}
        for setting, _, origin in declared:
            if clash := sorted(ours & set(setting.flags)):
                what = f"option {clash[0]!r} is declared twice: kernel {self.name} has one of its own"
                raise DuplicateName(what, (origin,), f"give setting {setting.name!r} other flags, or uninstall it")
        return [SettingOption(*found, self.name or "") for found in declared if found[0].flags]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                sections[getattr(param, "owner", "Options")].append(record)
        for title in sorted(sections, key=lambda title: (title != "Options", title)):
            with formatter.section(title):
                formatter.write_dl(sections[title])


def _keep_user_option(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    if param.name is not None:
        ctx.ensure_object(Session).extra[param.name] = value
    return value


class SettingOption(click.Option):
    """The option of a setting: `owner` is the distribution that declares it, `origin` says so in messages.

    Its environment variables are named after the command and the option, beside that of the setting:
    KERNEL_WORKER_LOGLEVEL for `--loglevel`.
    """

    def __init__(
        self, setting: Setting[Any], owner: str, origin: str, command: str, flags: Sequence[str] | None = None
    ) -> None:
        unit = f" [{setting.unit}]" if setting.unit else ""
        default = "" if setting.default in (None, False, (), "") else f"  [default: {setting.default}]"
        flags = list(setting.flags if flags is None else flags)
        if setting.type is bool:
            flags = [f"{flag}/{_opposite(flag)}" if flag.startswith("--") else flag for flag in flags]
        super().__init__(
            [*flags, f"option_{option_name(setting)}"],
            help=setting.help + unit + default,
            type=bool if setting.type is bool else _SettingType(setting),
            default=None,
            expose_value=False,
            callback=self._keep,
            envvar=[variable for variable in _variables(command, flags) if variable != variable_of(setting.name)],
        )
        self.setting = setting
        self.owner = owner
        self.origin = origin

    def _keep(self, ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        if value is not None:
            source = "command line"
            if ctx.get_parameter_source(str(self.name)) is click.core.ParameterSource.ENVIRONMENT:
                source = next(variable for variable in self.envvar or () if os.environ.get(variable))
            ctx.ensure_object(Session).app().conf.override({self.setting.name: value}, source)
        return value


def _variables(command: str, flags: Sequence[str]) -> list[str]:
    words = [flag.partition("/")[0][2:] for flag in flags if flag.startswith("--")]
    return [variable_of(f"{command}_{word}".replace("-", "_")) for word in words]


def _opposite(flag: str) -> str:
    return f"--with-{flag[10:]}" if flag.startswith("--without-") else f"--no-{flag[2:]}"


#: What stands for a value in `--help`, by its unit, or else by its type.
UNITS = {"s": "seconds", "KiB": "kib"}
KINDS = {"tuple": "a,b,...", "list": "a,b,...", "int": "n", "float": "number", "str": "text"}


class _SettingType(click.ParamType[Any]):
    def __init__(self, setting: Setting[Any]) -> None:
        self.setting = setting
        kind = getattr(setting.type, "__name__", "value").strip("_")
        self.name = UNITS.get(setting.unit) or KINDS.get(kind, kind)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self.setting.parse(value)
        except SettingError as exc:
            self.fail(exc.what, param, ctx)


def _early(args: Sequence[str]) -> tuple[Any, ...]:
    """Find the options of `app_options`, which decide which others there are."""
    found: dict[str, list[str]] = defaultdict(list)
    for word, following in zip(args, [*args[1:], ""], strict=False):
        flag, equals, value = word.partition("=")
        if flag in ("-A", "--app", "--without", "--on-plugin-error", "--workdir", "--config"):
            found["--app" if flag == "-A" else flag].append(value if equals else following)
        elif word.startswith("-A") and not word.startswith("--"):
            found["--app"].append(word[2:])
        elif word == "--":
            break
    last = {flag: values[-1] for flag, values in found.items() if values}
    further = [last.get(flag) for flag in ("--on-plugin-error", "--workdir", "--config")]
    return last.get("--app"), tuple(found["--without"]), *further
