"""Settings from modules and files, and which layer goes before which."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from bootsteps import App, KernelError, Setting
from bootsteps.configuring import read, values_of


def write(path: Path, text: str) -> str:
    path.write_text(textwrap.dedent(text))
    return str(path)


TOML = """
    title = "no setting of the table below"
    [bootsteps]
    size = 3
    names = ["a", "b"]
    [bootsteps.options]
    deep = 1
"""
PYTHON = """
    import os
    from datetime import timedelta
    import os.path as path
    def helper(): ...
    CONSTANT = 1
    _private = 2
    size = 3
    pause = timedelta(seconds=5)
"""


def test_a_toml_file_has_a_table_and_each_value_its_line(tmp_path):
    file = write(tmp_path / "s.toml", TOML)
    assert read(file) == {
        "size": (3, f"{file}:4"), "names": (["a", "b"], f"{file}:5"), "options": ({"deep": 1}, f"{file}:6"),
    }  # fmt: skip


def test_a_toml_file_without_the_table_is_all_settings(tmp_path):
    file = write(tmp_path / "s.toml", "size = 3\n")
    assert read(file) == {"size": (3, f"{file}:1")}


def test_of_a_python_file_the_lower_case_names_are_settings(tmp_path):
    found = read(write(tmp_path / "s.py", PYTHON))
    assert found.keys() == {"size", "pause"}
    assert found["size"] == (3, f"{tmp_path / 's.py'}:8")


def test_a_module_is_named_and_its_old_names_are_kept_to_be_refused(tmp_path, monkeypatch):
    write(tmp_path / "settings_by_name.py", "size = 4\nCELERYD_CONCURRENCY = 4\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = read("settings_by_name")
    assert found == {
        "size": (4, f"{tmp_path / 'settings_by_name.py'}:1"),
        "CELERYD_CONCURRENCY": (4, f"{tmp_path / 'settings_by_name.py'}:2"),
    }


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("s.toml", "size = three", "is no TOML: Invalid value"),
        ("s.toml", "bootsteps = 3", "bootsteps in .* is a int, not a table"),
        ("s.py", "1/0", "cannot be run: ZeroDivisionError: division by zero"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_with_its_reason(tmp_path, name, text, what):
    with pytest.raises(KernelError, match=what):
        read(write(tmp_path / name, text))


def test_what_is_not_there_is_told(tmp_path):
    with pytest.raises(KernelError, match=r"cannot be read: No such file"):
        read(str(tmp_path / "none.toml"))
    with pytest.raises(KernelError, match="'no_such_settings' cannot be imported: ModuleNotFoundError"):
        read("no_such_settings")


def test_an_application_takes_settings_of_objects_and_of_a_namespace(monkeypatch, tmp_path):
    class Config:
        size = 5

    app = App()
    app.config_from_object(Config)
    assert app.conf["size"] == 5
    app.config_from_object({"CELERY_SIZE": 6, "OTHER": 7, "size": 8}, namespace="CELERY")
    assert (app.conf["size"], sorted(app.conf)) == (6, ["on_plugin_error", "size", "without"])
    write(tmp_path / "settings_of_a_variable.py", "size = 9")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("SETTINGS_MODULE_OF_MINE", "settings_of_a_variable")
    app.config_from_envvar("SETTINGS_MODULE_OF_MINE")
    assert app.conf["size"] == 9
    with pytest.raises(KernelError, match="NOBODYS_VARIABLE is not set"):
        app.config_from_envvar("NOBODYS_VARIABLE")
    assert values_of({"size": 1}) == {"size": 1}


def test_the_command_line_goes_before_the_environment_the_file_the_application_and_the_default(monkeypatch):
    size = Setting[int]("size_of_layers", int, 1)
    app = App(size_of_layers=2)
    app.conf.declare([size])
    seen = [(app.conf.get(size), app.conf.source("size_of_layers"))]
    app.conf.add_file({"size_of_layers": (3, "prod.toml:7")})
    seen.append((app.conf.get(size), app.conf.source("size_of_layers")))
    monkeypatch.setenv("KERNEL_SIZE_OF_LAYERS", "4")
    seen.append((app.conf.get(size), app.conf.source("size_of_layers")))
    app.conf.override({"size_of_layers": 5})
    seen.append((app.conf.get(size), app.conf.source("size_of_layers")))
    assert seen == [(2, "application"), (3, "prod.toml:7"), (4, "KERNEL_SIZE_OF_LAYERS"), (5, "command line")]


class Knowing(App):
    def advice(self, name: str) -> str:
        return "use `size` instead" if name == "bulk" else ""


def test_unknown_names_are_faults_in_every_layer_and_say_what_to_do(monkeypatch):
    app = Knowing(bulk=1)
    app.conf.declare([Setting[int]("size_of_all", int, 1)])
    app.conf.add_file({"size_of_al": (3, "prod.toml:7")})
    app.conf.override({"sise": 2}, "an option")
    monkeypatch.setenv("KERNEL_SIZE_OF_ALLL", "3")
    monkeypatch.setenv("KERNEL_BULK", "3")
    monkeypatch.setenv("KERNEL_SERVICE_HOST", "10.0.0.1")  # what Kubernetes sets for a service called kernel
    faults = app.conf.faults(advice=app.advice)
    assert [(fault.what, fault.fix) for fault in faults] == [
        ("unknown setting 'bulk' in the application", "use `size` instead"),
        ("unknown setting 'sise' in an option", "remove it, or install the plugin that reads it (kernel plugins list)"),
        ("unknown setting 'size_of_al' in prod.toml:7", "did you mean 'size_of_all'?"),
        ("unknown setting 'bulk' in the environment", "use `size` instead"),
        ("unknown setting 'size_of_alll' in the environment", "did you mean KERNEL_SIZE_OF_ALL?"),
    ]


def test_a_file_is_named_before_or_after_the_command_or_by_the_environment(tmp_path):
    (tmp_path / "proj.py").write_text("from bootsteps import App\napp = App('proj')\n")
    write(tmp_path / "s.toml", "without = ['NoSuchPartAtAll']\n")

    def plugins(*words: str, **env: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "bootsteps", *words], cwd=tmp_path, capture_output=True, text=True, timeout=60,
            env={**os.environ, **env},
        )  # fmt: skip
        return done.stdout + done.stderr

    words = ("plugins", "list", "-A", "proj")
    assert "s.tom cannot be read" not in plugins(*words)
    assert "the settings' file ./s.tom cannot be read" in plugins("--config", "./s.tom", *words)
    assert "the settings' file ./s.tom cannot be read" in plugins(*words, "--config=./s.tom")
    assert "the settings' file ./s.tom cannot be read" in plugins(*words, KERNEL_CONFIG="./s.tom")
