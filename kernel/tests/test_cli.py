"""The command line, as a person types it: in a process of its own where that matters."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

import bootsteps
from bootsteps import App, Setting, Step
from bootsteps.cli import AppCommand, BootCommand, Option, Session, main, root

COMMANDS = """
import click
@click.command()
def hello():
    "Say hello."
    click.echo("hello")
"""


@click.command(cls=BootCommand)
@click.option("--own", default="o")
@click.pass_obj
def boot(session: Session, own: str) -> None:
    """Boot, only telling with what."""
    plan = session.compose()
    click.echo(
        json.dumps({"order": [c.name for c in plan.order], "options": session.options(), "own": own}, default=str)
    )


def run(*args: str, command: click.Command = root) -> Result:
    return CliRunner().invoke(command, args, obj=Session(), catch_exceptions=False)


def failing(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as caught:
        main(args)
    assert isinstance(caught.value.code, int)
    return caught.value.code, capsys.readouterr().err


def test_version_is_told_without_importing_the_world():
    code = "import sys; from bootsteps.cli import main\ntry: main(['--version'])\nfinally: print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith(f"kernel {bootsteps.__version__} (bootsteps)")
    loaded = set(eval(done.stdout.splitlines()[1]))
    assert not {name.partition(".")[0] for name in loaded} & {"networkx", "kombu", "billiard", "importlib_metadata"}
    assert not [name for name in loaded if name.startswith("bootsteps_")]


def test_the_version_is_that_of_the_distribution():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert project["version"] == bootsteps.__version__


def test_help_lists_installed_commands_and_a_broken_one_as_broken(make_dist):
    make_dist(
        "cmds",
        {"kernel.commands": {"hello": "cmds_module:hello", "bad": "cmds_bad:x", "odd": "cmds_module:__name__"}},
        {"cmds_module": COMMANDS, "cmds_bad": "raise RuntimeError('no good')"},
    )
    text = re.sub(r"\s+", " ", run("--help").output)  # columns are as wide as the longest name installed
    assert "hello Say hello." in text
    assert "bad [broken: cmds: no good]" in text
    assert "odd [broken: cmds: a kernel command must be a click command, not a str]" in text
    assert "plugins Look at the installed plugins." in text
    assert run("hello").output == "hello\n"


def test_a_broken_command_says_why_when_it_is_called(make_dist, capsys):
    make_dist("cmds", {"kernel.commands": {"bad": "cmds_bad:x"}}, {"cmds_bad": "raise RuntimeError('no good')"})
    status, text = failing(capsys, "bad", "--whatever", "x")
    assert status == 2
    assert "plugin 'bad' cannot be loaded from 'cmds_bad:x': RuntimeError: no good" in text
    assert "kernel.commands:bad (cmds 1.0)" in text


def test_two_commands_of_one_name_are_refused(make_dist, capsys):
    make_dist("c-one", {"kernel.commands": {"hello": "cmds_module:hello"}}, {"cmds_module": COMMANDS}, folder="a")
    make_dist("c-two", {"kernel.commands": {"hello": "cmds_module:hello"}}, folder="b")
    status, text = failing(capsys, "hello")
    assert status == 2
    assert "c-one 1.0" in text
    assert "c-two 1.0" in text


def test_an_unknown_command_gets_a_near_name(capsys):
    status, text = failing(capsys, "plugin")
    assert (status, "did you mean 'plugins'?" in text) == (2, True)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    text = "import bootsteps\napp = bootsteps.App('proj')\nother = bootsteps.App('other')\nnumber = 7\n"
    (tmp_path / "made_up_proj.py").write_text(text)
    (tmp_path / "raises_proj.py").write_text("import not_there_at_all\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "made_up_proj", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("nowhere_proj", "there is no module 'nowhere_proj'"),
        (
            "raises_proj",
            "module 'raises_proj' cannot be imported: ModuleNotFoundError: No module named 'not_there_at_all'",
        ),
        ("made_up_proj:ap", "module 'made_up_proj' has no 'ap'"),
        ("made_up_proj:number", "is a int, not an application"),
        ("json", "module 'json' has no application"),
    ],
)
def test_a_wrong_application_is_refused(project, capsys, spec, text):
    for args in (("-A", spec, "plugins", "list"), ("--app", spec, "plugins", "check")):
        status, printed = failing(capsys, *args)
        assert status == 2
        assert text in printed
        assert f"-A {spec}" in printed
        assert "try: " in printed
        assert "Traceback" not in printed


def test_the_application_is_found_by_name_or_by_its_own(project):
    assert bootsteps.find_app("made_up_proj").main == "proj"
    assert bootsteps.find_app("made_up_proj:other").main == "other"


@pytest.mark.parametrize(
    ("files", "main"),
    [
        ({"__init__.py": "celery = App('by celery')\nx = App('x')"}, "by celery"),
        ({"__init__.py": "shop = App('the only one')"}, "the only one"),
        ({"__init__.py": "", "celery.py": "app = App('of the submodule')"}, "of the submodule"),
    ],
)
def test_without_an_attribute_the_application_is_searched_for_as_celery_does(tmp_path, monkeypatch, files, main):
    package = tmp_path / f"searched_{main.replace(' ', '_')}"
    package.mkdir()
    for name, text in files.items():
        (package / name).write_text(f"from bootsteps import App\n{text}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert bootsteps.find_app(package.name).main == main


ECHO = """
import click
@click.command(context_settings={"ignore_unknown_options": True})
@click.option("-b", "--broker")
@click.option("--loud", is_flag=True)
@click.argument("words", nargs=-1)
def echo(broker, loud, words):
    click.echo(f"{broker} {loud} {words}")
"""


@pytest.mark.parametrize(
    "words",
    [
        ["-b", "redis://h", "--loud", "echo", "a", "-x"],
        ["echo", "-b", "redis://h", "--loud", "a", "-x"],
        ["--broker=redis://h", "echo", "--loud", "a", "-x"],
        ["--without", "echo-not", "-b", "redis://h", "--on-plugin-error=quarantine", "--loud", "echo", "a", "-x"],
    ],
)
def test_an_option_of_a_command_may_stand_before_its_name(make_dist, words):
    make_dist("cmds", {"kernel.commands": {"echo": "cmds_echo:echo", "echo-not": "cmds_echo:no"}}, {"cmds_echo": ECHO})
    assert run(*words).output == "redis://h True ('a', '-x')\n"


def test_an_option_before_a_command_that_there_is_not_is_not_what_is_wrong(make_dist, capsys):
    make_dist("cmds", {"kernel.commands": {"echo": "cmds_echo:echo"}}, {"cmds_echo": ECHO})
    status, text = failing(capsys, "-b", "redis://h", "ecko")
    assert (status, "there is no command 'ecko'" in text, "did you mean 'echo'?" in text) == (2, True, True)
    status, text = failing(capsys, "--nonsense")
    assert (status, "No such option '--nonsense'" in text) == (2, True)


def test_without_words_the_help_is_shown_and_is_no_error_text(capsys):
    status, text = failing(capsys)
    assert (status, text[:13]) == (2, "Usage: kernel")


class Placed(App):
    settings = (Setting("made_place", str, "here", flags=("-b", "--place"), help="Where."),)


@click.command(cls=AppCommand)
@click.option("-b", "--bold", is_flag=True)
@click.pass_obj
def placed(session: Session, bold: bool) -> None:
    session.app()
    click.echo(f"{session.app().conf['made_place']} {bold} {session.quiet}")


def test_every_command_takes_the_options_of_the_applications_settings_less_its_own_flags():
    def say(*args: str) -> str:
        return CliRunner().invoke(placed, args, obj=session_with(Placed()), catch_exceptions=False).output

    assert say("-b", "--place", "there") == "there True False\n"
    assert say("-q") == "here False True\n"
    assert "--place TEXT" in say("--help")
    assert "--quiet" in say("--help")


def test_colours_can_be_switched_off_before_and_after_the_command(make_dist, monkeypatch):
    text = "import click\nfrom bootsteps.cli import AppCommand\n@click.command(cls=AppCommand)\n"
    text += "def red():\n    click.echo(click.style('r', fg='red'))\n"
    make_dist("cmds", {"kernel.commands": {"red": "cmds_red:red"}}, {"cmds_red": text})

    def out(*words: str) -> str:
        return CliRunner().invoke(root, words, obj=Session(), color=True, catch_exceptions=False).output

    monkeypatch.setenv("NO_COLOR", "")
    assert out("red") == "\x1b[31mr\x1b[0m\n"
    for words in (("-C", "red"), ("red", "--no-color")):
        monkeypatch.setenv("NO_COLOR", "")
        assert out(*words) == "r\n"
    monkeypatch.setenv("NO_COLOR", "1")
    assert out("red") == "r\n"


SIZE = Setting("made_size", int, 3, unit="pieces", flags=("-z", "--made-size"), help="How many.")


class Sized(Step):
    settings = (
        SIZE,
        Setting("made_flag", bool, True, help="Whether."),
        Setting("made_less", bool, False, flags=("--without-this",), help="Less."),
    )


def session_with(app: App) -> Session:
    session = Session()
    session._app = app
    return session


def invoke(app: App, *args: str) -> Result:
    app.steps["worker"].add(Sized)
    return CliRunner().invoke(boot, args, obj=session_with(app), catch_exceptions=False)


def test_settings_of_steps_are_options_grouped_by_owner():
    text = invoke(App(), "--help").output
    assert "application:" in text
    assert "How many. [pieces]  [default: 3]" in text
    assert "--made-flag / --no-made-flag" in text
    assert "--without-this / --with-this" in text


def test_an_option_sets_the_setting_above_all_others(monkeypatch):
    monkeypatch.setenv("KERNEL_MADE_SIZE", "5")
    told = json.loads(invoke(App(made_size=4), "-z", "6", "--no-made-flag", "--own", "x").output)
    assert told["options"]["made_size"] == 6
    assert told["options"]["made_flag"] is False
    assert told["own"] == "x"
    assert json.loads(invoke(App(made_size=4)).output)["options"]["made_size"] == 5


def test_a_value_of_the_wrong_type_is_wrong_use():
    result = invoke(App(), "-z", "many")
    assert result.exit_code == 2
    assert "setting 'made_size' takes an int in pieces, not 'many'" in result.output


def test_user_options_reach_the_steps_like_the_guides():
    app = App()
    app.user_options["worker"].add(Option("--enable-my-option", action="store_true", default=False, help="Mine."))
    app.user_options["worker"].add(Option("--level", type=int, choices=None, default=2, dest="my_level"))
    app.user_options["worker"].add(Option("--mode", choices=["a", "b"], default="a"))
    options = json.loads(invoke(app, "--enable-my-option", "--mode", "b").output)["options"]
    assert (options["enable_my_option"], options["my_level"], options["mode"]) == (True, 2, "b")
    assert "--enable-my-option" in invoke(app, "--help").output


def test_an_option_of_an_unknown_action_is_refused():
    with pytest.raises(ValueError, match="action='call'"):
        Option("--x", action="call")


def test_a_duplicate_option_is_refused():
    app = App()
    app.user_options["worker"].add(Option("--made-size", type=int))
    with pytest.raises(bootsteps.KernelError, match="option '--made-size' is declared twice"):
        invoke(app)


def test_two_plugins_with_one_option_are_refused(make_dist, capsys):
    text = (
        "from bootsteps import Step, Setting\n"
        "class {0}(Step): settings = (Setting('{0}_x', int, 1, flags=('--xx',)),)\n"
    )
    make_dist("o-one", {"worker.steps": {"P": "o_one:P"}}, {"o_one": text.format("P")}, folder="a")
    make_dist("o-two", {"worker.steps": {"Q": "o_two:Q"}}, {"o_two": text.format("Q")}, folder="b")
    with pytest.raises(bootsteps.KernelError) as caught:
        run(command=boot)
    assert "option '--xx' is declared twice" in str(caught.value)
    assert "setting 'P_x' of worker.steps:P (o-one 1.0)" in str(caught.value)
    assert "setting 'Q_x' of worker.steps:Q (o-two 1.0)" in str(caught.value)


def test_an_option_that_the_command_has_already_is_refused():
    app = App()
    app.steps["worker"].add(type("Greedy", (Step,), {"settings": (Setting("x", int, 1, flags=("--own",)),)}))
    with pytest.raises(bootsteps.KernelError, match="option '--own' is declared twice: kernel boot has one of its own"):
        invoke(app)


def test_wrong_use_is_told_in_three_parts(capsys):
    status, text = failing(capsys, "plugins", "list", "--jsn")
    assert status == 2
    assert text.startswith("Error: No such option '--jsn'")
    assert "\n  kernel plugins list\n  try: kernel plugins list --help\n" in text


@pytest.mark.parametrize("words", [["--workdir", "{}", "plugins", "list", "-A", "there"],
                                   ["plugins", "list", "--workdir={}", "-A", "there"]])  # fmt: skip
def test_the_folder_of_the_application_is_gone_to_first(tmp_path, monkeypatch, words):
    folder = tmp_path / "sub"
    folder.mkdir()
    (folder / "there.py").write_text("import bootsteps\napp = bootsteps.App('there')\nprint('imported')\n")
    command = [sys.executable, "-m", "bootsteps", *(word.format("sub") for word in words)]
    done = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout.startswith("imported\n")) == (0, True), done.stderr


def test_a_folder_that_is_not_there_is_told(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, text = failing(capsys, "plugins", "list", "--workdir", "nowhere")
    assert status == 2
    assert "cannot go to the folder 'nowhere': No such file or directory" in text
    assert "try: make it" in text


def test_what_was_taken_can_be_said_again():
    session = Session()
    session.take("proj:app", ("Mingle", "Beat"), None)
    session.take(None, ("Beat",), "quarantine")
    assert session.words() == ["--app=proj:app", "--on-plugin-error=quarantine", "--without=Mingle", "--without=Beat"]


def test_without_and_quarantine_are_read_before_the_plugins_are(make_dist, capsys):
    make_dist(
        "steps",
        {"worker.steps": {"Good": "steps_good:Good", "Bad": "steps_bad:Bad"}},
        {"steps_good": "from bootsteps import Step\nclass Good(Step): pass", "steps_bad": "print('imported'); 1 / 0"},
    )
    with pytest.raises(bootsteps.BootError, match="--without Bad"):
        run(command=boot)
    sys.modules.pop("steps_bad", None)
    result = run("--without", "Bad", command=boot)
    assert "Good" in result.output
    assert "imported" not in result.output
    assert "Good" in run("--on-plugin-error=quarantine", command=boot).output
    with pytest.raises(bootsteps.BootError, match="no plugin is called 'Goood'"):
        run("--without=Goood", "--without=Bad", command=boot)


def test_without_can_stand_in_the_environment(make_dist, monkeypatch):
    make_dist("steps", {"worker.steps": {"Bad": "steps_bad:Bad"}}, {"steps_bad": "1 / 0"})
    monkeypatch.setenv("KERNEL_WITHOUT", "Bad,plugins-that-are-not")
    with pytest.raises(bootsteps.BootError, match="no plugin is called 'plugins-that-are-not'"):
        run(command=boot)


PLUGINS = {
    "worker.steps": {
        "Fine": "pl_fine:Fine",
        "Gone": "pl_gone_away:Gone",
        "Raises": "pl_raises:R",
        "Off": "pl_fine:Off",
    },
}
FINE = '''
from bootsteps import Step, TIMER
class Fine(Step):
    """Does it well."""
    wants = (TIMER,)
class Off(Step): pass
'''


def test_plugins_list_tells_states_without_importing(make_dist):
    make_dist("listed", PLUGINS, {"pl_fine": FINE, "pl_raises": "raise OSError('x')"}, version="2.0")
    make_dist("older", {"worker.steps": {"S": "pl_fine:S"}}, version="1.0", folder="a")
    make_dist("older", {"worker.steps": {"S": "pl_fine:S"}}, version="2.0", folder="b")
    rows = json.loads(run("--without", "Off", "plugins", "list", "--json").output)
    states = {(row["name"], row["version"]): row["state"] for row in rows if row["distribution"] in ("listed", "older")}
    assert states == {
        ("Fine", "2.0"): "ok", ("Gone", "2.0"): "broken", ("Raises", "2.0"): "ok", ("Off", "2.0"): "disabled",
        ("S", "1.0"): "shadowed", ("S", "2.0"): "ok",
    }  # fmt: skip
    assert "pl_raises" not in sys.modules
    assert "pl_fine" not in sys.modules
    text = run("plugins", "list").output
    assert "worker.steps" in text
    assert "there is no module 'pl_gone_away'" in text


def test_plugins_check_imports_them_and_fails_if_one_is_broken(make_dist, capsys):
    make_dist("listed", PLUGINS, {"pl_fine": FINE, "pl_raises": "raise OSError('x')"})
    status, text = failing(capsys, "--on-plugin-error", "quarantine", "plugins", "check")
    assert status == 2
    assert "broken plugins: Gone, Raises" in text


def test_plugins_show_tells_all_about_one(make_dist, capsys):
    make_dist("listed", PLUGINS, {"pl_fine": FINE, "pl_raises": "raise OSError('x')"})
    [fine] = json.loads(run("plugins", "show", "Fine", "--json").output)
    assert fine["about"] == "Does it well."
    assert fine["wants"] == ["timer"]
    assert fine["summary"] == "made up"
    [raises] = json.loads(run("plugins", "show", "Raises", "--json").output)
    assert (raises["state"], "OSError: x" in raises["reason"]) == ("broken", True)
    assert "Fine" in run("plugins", "show", "listed").output
    status, text = failing(capsys, "plugins", "show", "Fin")
    assert (status, "did you mean 'Fine'?" in text) == (2, True)


def test_wrong_use_exits_2_and_help_0(capsys):
    assert failing(capsys, "plugins", "list", "--nonsense")[0] == 2
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0


def test_python_dash_m_is_the_same_program():
    done = subprocess.run([sys.executable, "-m", "bootsteps", "--version"], capture_output=True, text=True, timeout=60)
    assert done.stdout == f"kernel {bootsteps.__version__} (bootsteps)\n"


def test_the_application_may_be_named_after_the_command_too(project, make_dist, capsys):
    make_dist("here", {"worker.steps": {"One": "pl_fine:Fine"}}, {"pl_fine": FINE})
    for args in (("-A", "made_up_proj", "plugins", "list"), ("plugins", "list", "-A", "made_up_proj")):
        assert run(*args).exit_code == 0
    status, text = failing(capsys, "plugins", "list", "-A", "made_up_proj:nothing")
    assert (status, "has no 'nothing'" in text) == (2, True)
    assert "disabled" in run("plugins", "list", "--without=One").output


def test_options_that_plugins_share_stand_under_a_name_for_all_of_them(make_dist):
    text = "import bootsteps\nS = bootsteps.Setting('made_common', float, 1.0, unit='s', help='Shared.')\n"
    for name in ("a", "b"):
        text += f"class {name.upper()}(bootsteps.Step):\n    settings = (S,)\n"
    make_dist("made-pool-a", {"worker.steps": {"A": "made_pools:A"}}, {"made_pools": text})
    make_dist("made-pool-b", {"worker.steps": {"B": "made_pools:B"}})
    help_text = CliRunner().invoke(boot, ["--help"], obj=Session(), catch_exceptions=False).output
    assert "\nmade-pool-*:\n  --made-common SECONDS  Shared." in help_text


def test_there_is_one_scan_for_one_call(project, monkeypatch):
    from bootsteps.cli import session

    scans: list[int] = []

    def counted() -> list[bootsteps.Plugin]:
        scans.append(1)
        return bootsteps.scan()

    monkeypatch.setattr(session, "scan_once", counted)
    assert run("-A", "made_up_proj", "--without", "x", "plugins", "list", "--without", "y").exit_code == 0
    assert len(scans) == 1


@pytest.mark.parametrize("columns", ["", "0", "40", "66", "200", "x", "²"])
def test_a_help_page_is_as_wide_as_click_makes_it(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    import click

    from bootsteps import cli

    monkeypatch.setenv("COLUMNS", columns)
    assert cli._width() == click.HelpFormatter(width=None, max_width=80).width
