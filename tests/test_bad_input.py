"""Every mistake of a user that the kernel knows, typed as a person types it: one process for each.

Each gets the three parts (what, whose, what to do), exit status 2 and no traceback, and nothing was started.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest

APP = """
    import bootsteps
    from bootsteps_tasks import App
    app = App("proj"{settings})
    number = 7
"""
#: What a person types for a worker on the application above.
WORKER = ("worker", "-A", "proj", "-P", "solo", "-l", "INFO")


@dataclass
class Kernel:
    """Runs `kernel` in a folder with an application and made-up distributions."""

    folder: Path

    @property
    def site(self) -> Path:
        return self.folder / "site"

    def app(self, settings: str = "", more: str = "") -> None:
        text = textwrap.dedent(APP).format(settings=f", {settings}" if settings else "")
        (self.folder / "proj.py").write_text(text + textwrap.dedent(more))

    def install(self, name: str, points: dict[str, str], code: str = "", group: str = "worker.steps") -> None:
        """Make a distribution with entry points into one module, named after it, of this code."""
        module = name.replace("-", "_")
        info = self.site / f"{module}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [f"{point} = {value if ':' in value else f'{module}:{value}'}" for point, value in points.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines, ""]))
        if code:
            head = "from bootsteps import *\nfrom bootsteps import ServiceKey, Setting\n"
            (self.site / f"{module}.py").write_text(head + textwrap.dedent(code))

    def run(self, *args: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run it in a process group of its own, and see that the whole group has ended with it."""
        env = dict(os.environ, XDG_STATE_HOME=str(self.folder / "state"), COLUMNS="200", **variables)
        env["PYTHONPATH"] = str(self.site)
        with subprocess.Popen(
            [sys.executable, "-m", "bootsteps", *args], cwd=self.folder, env=env, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as process:  # fmt: skip
            try:
                out, err = process.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        with pytest.raises(ProcessLookupError):  # no child is left
            os.killpg(process.pid, 0)
        return subprocess.CompletedProcess(args, process.returncode, out, err)

    def refuse(self, *args: str, **variables: str) -> str:
        """Run it; it must refuse as it should. Returns its message."""
        done = self.run(*args, **variables)
        text = done.stdout + done.stderr
        assert done.returncode == 2, text
        assert "Traceback" not in text
        assert "ready" not in text
        assert not (self.folder / "state").exists(), "the broker's file was made"
        assert done.stderr.startswith("Error: ")
        for fault in done.stderr.removeprefix("Error: ").split("\n\n"):
            what, *whose, fix = fault.strip().splitlines()
            assert what[:1].strip(), fault
            assert whose, fault
            assert all(re.match(r"  \S", line) for line in whose), fault
            assert re.match(r"  try: \S", fix), fault
        return done.stderr


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    made = Kernel(tmp_path)
    made.site.mkdir()
    made.app()
    return made


STEP = "class {0}(Step): pass\n"


@pytest.mark.parametrize(
    ("spec", "what", "fix"),
    [
        ("nowhere", "there is no module 'nowhere'", "run where the module is, or set PYTHONPATH"),
        ("proj:ap", "module 'proj' has no 'ap'", "did you mean 'app'?"),
        ("proj:number", "'proj:number' is a int, not an application", "name a bootsteps.App"),
        ("json", "module 'json' has no application", "name it: -A MODULE:ATTRIBUTE"),
        ("broken", "module 'broken' cannot be imported: ModuleNotFoundError", "install what brings 'not_there'"),
        ("quits", "module 'quits' cannot be imported: SystemExit: 3", "python -c 'import quits' shows where"),
    ],
)
def test_no_such_application(kernel: Kernel, spec: str, what: str, fix: str) -> None:
    (kernel.folder / "broken.py").write_text("import not_there\n")
    (kernel.folder / "quits.py").write_text("raise SystemExit(3)\n")
    text = kernel.refuse("worker", "-A", spec)
    assert what in text
    assert f"  -A {spec}\n" in text
    assert f"  try: {fix}" in text


def test_no_application_at_all(kernel: Kernel) -> None:
    text = kernel.refuse("worker", "-P", "solo")
    assert "no application is named" in text
    assert "  worker.steps:Runner (bootsteps-consumer-tasks 0.1.0)\n" in text
    assert "  try: name one: kernel worker -A MODULE:APP" in text


def test_an_unknown_plugin_in_without(kernel: Kernel) -> None:
    text = kernel.refuse(*WORKER, "--without", "Timr", "--without=nothing-like-it")
    assert "no plugin is called 'Timr'\n  --without Timr\n  try: did you mean 'Timer'?" in text
    assert "no plugin is called 'nothing-like-it'\n  --without nothing-like-it\n  try: kernel plugins list" in text


def test_an_unknown_setting(kernel: Kernel) -> None:
    kernel.app("broker_ulr='x', xyzzy=1")
    text = kernel.refuse(*WORKER)
    assert "unknown setting 'broker_ulr' in the application\n  the application <App proj>\n" in text
    assert "  try: did you mean 'broker_url'?" in text
    assert "unknown setting 'xyzzy'" in text


MULTIPLIER = "setting 'worker_prefetch_multiplier' takes an int, not 'many'"
READER = "  consumer.steps:Tasks (bootsteps-consumer-tasks 0.1.0)\n"


def test_a_setting_of_the_wrong_type_in_the_application(kernel: Kernel) -> None:
    kernel.app("worker_prefetch_multiplier='many'")
    text = kernel.refuse(*WORKER)
    assert f"{MULTIPLIER} (application)\n{READER}  try: worker_prefetch_multiplier = 4, the default" in text


def test_a_setting_of_the_wrong_type_in_the_environment(kernel: Kernel) -> None:
    text = kernel.refuse(*WORKER, KERNEL_WORKER_PREFETCH_MULTIPLIER="many")
    assert f"{MULTIPLIER} (KERNEL_WORKER_PREFETCH_MULTIPLIER)\n{READER}" in text


def test_a_setting_of_the_wrong_type_on_the_command_line(kernel: Kernel) -> None:
    text = kernel.refuse(*WORKER, "--prefetch-multiplier", "many")
    assert f"Invalid value for '--prefetch-multiplier': {MULTIPLIER}\n{READER}  try: kernel worker --help" in text


def test_an_option_that_nobody_declares(kernel: Kernel) -> None:
    text = kernel.refuse(*WORKER, "--prefetch-multipler", "2")
    assert "No such option '--prefetch-multipler'. Did you mean '--prefetch-multiplier'?\n  kernel worker\n" in text
    text = kernel.refuse(*WORKER, "--xyzzy", "2")
    assert "others come with a plugin" in text


def test_a_command_that_nobody_brings(kernel: Kernel) -> None:
    text = kernel.refuse("worke")
    assert "there is no command 'worke'\n  kernel worke\n  try: did you mean 'worker'?" in text


def test_a_cycle(kernel: Kernel) -> None:
    code = "class A(Step): requires = ('B',)\nclass B(Step): after = ('C',)\nclass C(Step): requires = ('A',)\n"
    kernel.install("knot", {"A": "A", "B": "B", "C": "C"}, code)
    text = kernel.refuse(*WORKER)
    assert "steps of 'worker' wait for each other: A -> C -> B -> A" in text
    for name in "ABC":
        assert f"  {name}: worker.steps:{name} (knot 1.0)\n" in text


def test_a_missing_requirement(kernel: Kernel) -> None:
    kernel.install("needy", {"A": "A"}, "class A(Step): requires = ('Nowhere', ServiceKey('gold'), 'Timmer')\n")
    text = kernel.refuse(*WORKER)
    for need in ("step 'Nowhere'", "service 'gold'", "step 'Timmer'"):
        assert f"step 'A' requires the {need}, which nothing installed offers\n  worker.steps:A (needy 1.0)\n" in text
    assert "  try: install what offers it, or --without A" in text
    assert "  try: did you mean 'Timer'?" in text


@pytest.mark.parametrize("name", ["Timer", "bootsteps-worker-timer", "worker.steps:Timer"])
def test_a_disabled_requirement(kernel: Kernel, name: str) -> None:
    text = kernel.refuse(*WORKER, "--without", name)
    assert f"step 'Hub' requires the service 'timer', which is left out (--without {name})" in text
    assert (
        "  worker.steps:Hub (bootsteps-worker-hub 0.1.0)\n  worker.steps:Timer (bootsteps-worker-timer 0.1.0)\n" in text
    )
    assert "  try: take that back, or --without Hub" in text
    assert "pip install" not in text


def test_a_disabled_requirement_of_a_step_of_the_application(kernel: Kernel) -> None:
    more = """
        class A(bootsteps.Step): pass
        class B(bootsteps.Step): requires = ("A",)
        app.steps["worker"].update([A, B])
    """
    kernel.app(more=more)
    text = kernel.refuse(*WORKER, "--without", "A")
    assert "step 'B' requires the step 'A', which is left out (--without A)\n  app.steps['worker']: proj:B\n" in text


def test_a_command_whose_step_is_disabled(kernel: Kernel) -> None:
    code = """
        KEY = ServiceKey("gold")
        class A(Step): provides = (KEY,)
        @inspect_command(requires=(KEY,))
        def dig(state): pass
    """
    kernel.install("mine", {"A": "A"}, code)
    kernel.install("spade", {"dig": "mine:dig"}, group="worker.commands")
    text = kernel.refuse(*WORKER, "--without", "mine")
    assert "command 'dig' requires the service 'gold', which nothing installed offers" in text
    assert "  worker.commands:dig (spade 1.0)\n  try: install what offers it, or --without dig" in text


def test_two_steps_of_one_name(kernel: Kernel) -> None:
    kernel.install("one", {"A": "A"}, STEP.format("A"))
    kernel.install("two", {"A": "A"}, STEP.format("A"))
    text = kernel.refuse(*WORKER)
    assert "two steps are called 'A'\n  worker.steps:A (one 1.0)\n  worker.steps:A (two 1.0)\n" in text
    assert "  try: rename one, or switch one off: --without one" in text


def test_two_providers_of_one_service(kernel: Kernel) -> None:
    kernel.install("two", {"A": "A", "B": "B"}, "K = ServiceKey('gold')\n" + "".join(
        f"class {name}(Step): provides = (K,)\n" for name in "AB"
    ))  # fmt: skip
    text = kernel.refuse(*WORKER)
    assert "service 'gold' is lent by two steps, and no setting chooses between them" in text
    assert "  A: worker.steps:A (two 1.0)\n  B: worker.steps:B (two 1.0)\n  try: switch one off: --without B" in text


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("raise RuntimeError('no good')", "RuntimeError: no good"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("def (", "SyntaxError: invalid syntax"),
    ],
)
def test_a_plugin_that_raises_on_import(kernel: Kernel, code: str, error: str) -> None:
    kernel.install("bad", {"A": "A"}, code)
    text = kernel.refuse(*WORKER)
    assert f"plugin 'A' cannot be loaded from 'bad:A': {error}" in text
    assert "  worker.steps:A (bad 1.0)\n" in text
    assert "  try: mend or uninstall bad, or go on without it: --without A" in text


def test_a_plugin_that_raises_on_import_is_put_in_quarantine_on_request(kernel: Kernel) -> None:
    kernel.install("bad", {"A": "A"}, "raise RuntimeError('no good')")
    kernel.install(
        "needy", {"B": "B", "C": "C"}, "class B(Step): requires = ('A',)\nclass C(Step): requires = ('B',)\n"
    )
    kernel.install("fine", {"D": "D"}, "class D(Step): after = ('A',)\n")
    assert "step 'B' requires the step 'A', which is left out (it cannot be loaded)" in kernel.refuse(*WORKER)
    done = kernel.run(*WORKER, "--on-plugin-error=quarantine", "--dry-run", "-n", "w@h")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"w@h would start: .*\n", done.stdout)
    assert set("ABC").isdisjoint(done.stdout.partition(": ")[2].strip().split(", "))
    assert ", D" in done.stdout or ": D" in done.stdout
    for name, dist in (("A", "bad"), ("B", "needy"), ("C", "needy")):
        assert re.search(
            rf"WARNING.* {name} is left out, quarantined: .* \(worker.steps:{name} \({dist} 1\.0\)\)", done.stderr
        )
    drawn = kernel.run("graph", "-A", "proj", "--on-plugin-error=quarantine", "--format", "json")
    left_out = {out["name"]: out["reason"] for out in json.loads(drawn.stdout)["blueprints"][0]["left_out"]}
    assert left_out["A"] == "quarantined: plugin 'A' cannot be loaded from 'bad:A': RuntimeError: no good"
    assert left_out["B"].startswith("quarantined: step 'B' requires the step 'A'")
    assert left_out["C"].startswith("quarantined: step 'C' requires the step 'B'")


@pytest.mark.parametrize(
    ("code", "what", "fix"),
    [
        ("class A: pass", "a step must be a subclass of bootsteps.Step, not the class A", "derive it from"),
        ("def A(): pass", "a step must be a subclass of bootsteps.Step, not a function", "derive it from"),
        ("class B(Step): pass\nA = B(None)", "a step must be a subclass of bootsteps.Step, not a B", "name the class"),
        ("class A(Step): requires = 'Timer'", "requires must be a tuple, not 'Timer'", "requires = ('Timer',)"),
        ("class A(Step): after = (5,)", "after has the entry 5", "each entry is a step's name or a step class or a"),
        ("class A(Step): provides = ('a',)", "provides has the entry 'a'", "each entry is a service key"),
        (
            "class A(Step): settings = Setting('a', int, 1)",
            "settings must be a tuple, not Setting('a')",
            "settings = (",
        ),
    ],
)
def test_a_step_of_the_wrong_type(kernel: Kernel, code: str, what: str, fix: str) -> None:
    kernel.install("odd", {"A": "A"}, code)
    text = kernel.refuse(*WORKER)
    assert f"{what}\n  worker.steps:A (odd 1.0)\n  try: {fix}" in text


def test_an_entry_point_to_nothing(kernel: Kernel) -> None:
    kernel.install("gone", {"A": "gone_away:A", "B": "gone:B"}, "here = 1")
    text = kernel.refuse(*WORKER)
    assert "plugin 'A' cannot be loaded from 'gone_away:A': ModuleNotFoundError: No module named 'gone_away'" in text
    assert "plugin 'B' cannot be loaded from 'gone:B': AttributeError: module 'gone' has no attribute 'B'" in text
    assert "  worker.steps:A (gone 1.0)\n" in text
    assert "  worker.steps:B (gone 1.0)\n" in text


def test_an_option_of_two_plugins(kernel: Kernel) -> None:
    code = "class {0}(Step): settings = (Setting('{0}_x', int, 1, flags=('--xx',)),)\n"
    kernel.install("one", {"A": "A"}, code.format("A"))
    kernel.install("two", {"B": "B"}, code.format("B"))
    text = kernel.refuse(*WORKER)
    assert "option '--xx' is declared twice" in text
    assert "  setting 'A_x' of worker.steps:A (one 1.0)\n  setting 'B_x' of worker.steps:B (two 1.0)\n" in text


def test_an_option_that_the_command_has_already(kernel: Kernel) -> None:
    kernel.install("one", {"A": "A"}, "class A(Step): settings = (Setting('x', int, 1, flags=('-n',)),)\n")
    text = kernel.refuse(*WORKER)
    assert "option '-n' is declared twice: kernel worker has one of its own\n  worker.steps:A (one 1.0)\n" in text


def test_an_option_of_the_application_that_a_plugin_has(kernel: Kernel) -> None:
    kernel.app(more="from bootsteps.cli import Option\napp.user_options['worker'].add(Option('--grace', type=int))\n")
    text = kernel.refuse(*WORKER)
    assert "option '--grace' is declared twice\n  worker.steps:Signals (bootsteps-worker 0.1.0)\n" in text
    assert "  app.user_options['worker']\n  try: rename it in the application" in text


@pytest.mark.parametrize("where", ["command line", "KERNEL_WORKER_POOL", "application"])
def test_no_pool_of_the_chosen_name(kernel: Kernel, where: str) -> None:
    args, variables = ["worker", "-A", "proj"], {}
    if where == "command line":
        args += ["-P", "fibres"]
    elif where == "application":
        kernel.app("worker_pool='fibres'")
    else:
        variables[where] = "fibres"
    text = kernel.refuse(*args, **variables)
    assert f"worker_pool is 'fibres' ({where}), and no installed plugin offers that pool\n" in text
    assert "  solo: worker.steps:SoloPool (bootsteps-worker-pool-solo 0.1.0)\n" in text
    assert "or choose one of " in text
    assert text.count("  try: ") == 1  # and not one fault more for each step that needs a pool


def test_the_near_name_of_a_pool(kernel: Kernel) -> None:
    assert "  try: did you mean 'prefork'?" in kernel.refuse("worker", "-A", "proj", "-P", "preforc")


RAISES: list[tuple[str, str]] = [
    ("def __init__(self, parent, **options): 1 / 0", "step 'A' cannot be made: ZeroDivisionError"),
    ("def include_if(self, parent): 1 / 0", "step 'A' cannot tell whether it takes part: ZeroDivisionError"),
    ("def create(self, parent): 1 / 0", "step 'A' cannot create its object: ZeroDivisionError"),
]


@pytest.mark.parametrize(("method", "what"), RAISES)
def test_a_step_that_raises_while_it_is_made(kernel: Kernel, method: str, what: str) -> None:
    kernel.install("bad", {"A": "A"}, f"class A(Step):\n    {method}\n")
    text = kernel.refuse(*WORKER)
    assert f"{what}: division by zero\n  worker.steps:A (bad 1.0)\n  try: mend it" in text
    done = kernel.run(*WORKER, "-l", "DEBUG")
    assert done.returncode == 2
    assert "ZeroDivisionError" in done.stderr.partition("Traceback")[2]  # the author asked to see where


def test_a_mistake_that_a_step_finds_while_it_starts_undoes_the_boot(kernel: Kernel) -> None:
    code = """
        class A(Step):
            after = ("Hub",)
            def start(self, worker): print("A started")
            def stop(self, worker): print("A stopped")
        class B(Step):
            requires = ("A",)
            def start(self, worker): raise KernelError("there is no disk", (), "buy one")
    """
    kernel.install("disk", {"A": "A", "B": "B"}, code)
    done = kernel.run(*WORKER, "--quiet")
    assert (done.returncode, done.stdout) == (2, "A started\nA stopped\n")
    assert done.stderr == "Error: there is no disk\n  worker.steps:B (disk 1.0)\n  try: buy one\n"


def test_a_bug_in_a_start_names_its_step_and_undoes_the_boot(kernel: Kernel) -> None:
    code = """
        class A(Step):
            before = ("Consumer",)
            requires = ("Pool",)
            def start(self, worker): 1 / 0
    """
    kernel.install("bad", {"A": "A"}, code)
    done = kernel.run("worker", "-A", "proj", "-c", "1", "-l", "INFO")
    assert done.returncode == 1
    assert "ERROR/MainProcess] Worker: step A failed to start (worker.steps:A (bad 1.0))" in done.stderr
    assert "ZeroDivisionError" in done.stderr.partition("Traceback")[2]
    assert "ready" not in done.stderr


def test_a_hook_that_does_not_exist(kernel: Kernel) -> None:
    kernel.install("deaf", {"A": "A"}, "class A(Step):\n    @hookimpl\n    def task_setled(self): pass\n")
    text = kernel.refuse(*WORKER)
    assert "unknown hook 'task_setled'" in text
    assert "  worker.steps:A (deaf 1.0)\n" in text


def test_all_mistakes_are_told_at_once(kernel: Kernel) -> None:
    kernel.app("broker_ulr='x', worker_prefetch_multiplier='many'")
    kernel.install("bad", {"A": "A"}, "raise RuntimeError('no good')")
    kernel.install("odd", {"B": "B", "C": "C"}, "class B: pass\nclass C(Step): requires = ('Nowhere',)\n")
    text = kernel.refuse(*WORKER, "--without", "Timr")
    for part in ("'broker_ulr'", "'many'", "no good", "not the class B", "'Nowhere'", "'Timr'"):
        assert part in text
    assert text.count("  try: ") == 6
