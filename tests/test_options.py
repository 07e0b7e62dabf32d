"""Options of `kernel worker` as a person types them: a process for each line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from bootsteps.cli import Session, root
from bootsteps.cores import usable_cores
from bootsteps_tasks import App
from workers import TASKS, running_worker

pytest.importorskip("bootsteps_worker_pool_solo")


def kernel(folder: Path, *words: str, **env: str) -> tuple[int, str, str]:
    """Run `kernel` in a folder; returns exit status, standard output and standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "bootsteps", *words], cwd=folder, capture_output=True, text=True, timeout=60,
        env={**os.environ, "XDG_STATE_HOME": str(folder / "state"), **env},
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "proj.py").write_text("from bootsteps_tasks import App\napp = App('proj')\nother = App('other')\n")
    return tmp_path


DRY = ("worker", "-P", "solo", "--dry-run")


@pytest.mark.parametrize("given", ["auto", "0"])
def test_a_pool_of_the_usual_size_may_be_asked_for(tmp_path, redis_url, given):
    pytest.importorskip("bootsteps_worker_pool_prefork")
    with running_worker(tmp_path, "-c", given, broker=f"{redis_url.rpartition('/')[0]}/13") as worker:
        assert len(worker.children()) == usable_cores()
        assert worker.stop() == 0


def test_a_size_that_is_no_number_is_wrong_use(folder):
    status, _, err = kernel(folder, "-A", "proj", "worker", "-c", "many", "--dry-run")
    assert status == 2
    assert "a number is wanted, or auto" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("words", [("-A", "proj", *DRY), (*DRY, "-A", "proj"), ("--app=proj:other", *DRY)])
def test_the_application_may_be_named_before_or_after_the_command(folder, words):
    status, out, err = kernel(folder, *words, "-n", "w@%%h")
    assert (status, out[:20]) == (0, "w@%h would start: Lo"), err


def test_the_environment_may_name_the_application(folder):
    assert kernel(folder, *DRY)[0] == 2
    assert kernel(folder, *DRY, KERNEL_APP="proj")[0] == 0


@pytest.mark.parametrize(
    "words",
    [
        ("-A", "proj", "-b", "sqlite:///there.db", "-q", "call", "proj.add"),
        ("call", "proj.add", "-A", "proj", "-b", "sqlite:///there.db", "-q"),
        ("-b", "sqlite:///there.db", "call", "proj.add"),
    ],
)
def test_a_broker_may_be_named_before_or_after_every_command(folder, words):
    status, out, err = kernel(folder, *words)
    assert (status, err, len(out.strip())) == (0, "", 36)
    counted = kernel(folder, "--broker", "sqlite:///there.db", "queues", "list", "--json")[1]
    assert [(row["queue"], row["messages"]) for row in json.loads(counted)] == [("celery", 1)]
    assert "No messages" in kernel(folder, "-A", "proj", "purge", "-f")[1]  # the application's own broker is another
    purged = kernel(folder, "-b", "sqlite:///there.db", "-A", "proj", "purge", "-f")[1]
    assert "Purged 1 message from 1 queue." in purged


def test_a_note_about_an_unknown_task_is_left_out_when_quiet_is_asked_for(folder):
    assert "proj has no task 'proj.add'" in kernel(folder, "-A", "proj", "call", "proj.add")[2]
    assert kernel(folder, "-A", "proj", "-q", "call", "proj.add")[2] == ""


def test_settings_of_what_is_switched_off_may_stay_where_they_are(folder):
    pytest.importorskip("bootsteps_worker_beat")
    (folder / "ticks.py").write_text("from bootsteps_tasks import App\napp = App('ticks', beat_schedule={}, wrong=1)\n")
    for words in ((*DRY, "--without", "Beat"), ("conf", "--without", "bootsteps-worker-beat"), DRY):
        status, _, err = kernel(folder, "-A", "ticks", *words, KERNEL_BEAT_MAX_LOOP_INTERVAL="7")
        assert (status, "'wrong'" in err, "unknown setting 'beat" in err) == (2, True, False), err


def test_a_broker_of_one_slash_is_told_what_is_wrong(folder):
    status, _, err = kernel(folder, "-A", "proj", "worker", KERNEL_BROKER_URL="redis:/host")
    assert (status, "'redis:/host' is no URL: it has one slash where two belong" in err) == (2, True), err


def test_help_of_a_wrong_application_is_that_error(folder):
    status, out, err = kernel(folder, "worker", "--help", "-A", "proj")
    assert (status, err) == (0, "")
    assert out.index("\nOptions:") < out.index("bootsteps-consumer-tasks")
    status, out, err = kernel(folder, "-A", "nowhere", "worker", "--help")
    assert (status, "there is no module 'nowhere'" in err) == (2, True)


@pytest.mark.parametrize("level", ["DEBUG", "info", "Warning", "ERROR", "critical", "FATAL"])
def test_every_level_of_the_log_is_known_in_any_case(folder, level):
    status, _, err = kernel(folder, *DRY, "-A", "proj", "-l", level)
    assert status == 0, err
    assert ("New boot order" in err) is (level == "DEBUG")


def test_an_unknown_level_is_wrong_use(folder):
    status, _, err = kernel(folder, *DRY, "-A", "proj", "-l", "LOUD")
    assert (status, "'LOUD': it is one of DEBUG, INFO" in err) == (2, True)


def test_an_unknown_queue_is_refused_when_none_may_be_made(folder):
    (folder / "strict.py").write_text(
        "from bootsteps_tasks import App\napp = App('strict', task_create_missing_queues=False)\n"
    )
    status, _, err = kernel(folder, "-A", "strict", "worker", "-P", "solo", "-Q", "nope")
    assert status == 2
    assert "no queue is called 'nope'" in err
    assert "task_create_missing_queues" in err


def test_an_excluded_queue_is_not_consumed_and_an_unknown_one_refused(tmp_path):
    app = TASKS.replace('App("proj")', 'App("proj", task_queues=["orders", "images", "mail"])')
    with running_worker(tmp_path, "-P", "solo", "-X", "images", app=app) as worker:
        worker.until_logged("consuming from orders, mail\n")
        assert worker.stop() == 0
    with running_worker(tmp_path, "-P", "solo", "-Q", "mail,images", "-X", "image", app=app, ready=False) as worker:
        assert worker.wait() == 2
        assert "'image' cannot be excluded: the queues are images, mail" in worker.log
        assert "did you mean 'images'?" in worker.log
        assert "Traceback" not in worker.log


def test_a_quarantined_plugin_is_named_in_the_log(folder):
    info = folder / "site" / "their_thing-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-thing\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[worker.steps]\nBroken = their_thing:Broken\n")
    words = (*DRY, "-A", "proj", "--on-plugin-error", "quarantine")
    status, _, err = kernel(folder, *words, PYTHONPATH=str(folder / "site"))
    assert status == 0
    assert "WARNING" in err
    assert "Broken is quarantined: plugin 'Broken' cannot be loaded" in err
    assert "(worker.steps:Broken (their-thing 1.0))" in err


def test_modules_of_the_settings_are_imported_when_the_worker_starts(tmp_path, monkeypatch):
    (tmp_path / "jobs.py").write_text("from proj import app\n@app.task\ndef twice(x):\n    return 2 * x\n")
    (tmp_path / "verbs.py").write_text(
        "import bootsteps\n@bootsteps.inspect_command()\ndef colour(state):\n    return 'blue'\n"
    )
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    app = """
        import bootsteps
        from bootsteps_tasks import App
        app = App("proj", imports=("jobs", "verbs"))

        class Shows(bootsteps.Step):
            def start(self, worker):
                print("commands:", [c for c in worker.blueprint.plan.commands if c == "colour"])

        app.steps["worker"].add(Shows)
    """
    with running_worker(tmp_path, "-P", "solo", app=app) as worker:
        client = App("proj")
        assert client.send_task("jobs.twice", (21,)).get(timeout=10) == 42
        client.close()
        assert worker.stop() == 0
    assert "commands: ['colour']" in worker.log


def test_every_command_of_an_application_takes_its_preload_options_and_tells_them(folder):
    (folder / "loaded.py").write_text(
        textwrap.dedent("""
            import click
            from bootsteps_tasks import App
            app = App("proj")
            app.user_options["preload"].add(click.Option(["--tenant", "-Z"], default="none", help="whose tasks"))

            @app.task(name="add")
            def add(x, y):
                return x + y

            @app.hooks.connect("user_preload_options")
            def chosen(command, options):
                print(command, options)
        """)
    )
    assert "worker {'tenant': 'acme'}" in kernel(folder, *DRY, "-A", "loaded", "--tenant", "acme")[1]
    status, out, err = kernel(folder, "-A", "loaded", "call", "add", "-a", "[1, 2]", "-Z", "acme")
    assert (status, out.splitlines()[0]) == (0, "call {'tenant': 'acme'}"), err
    assert "whose tasks" in kernel(folder, "-A", "loaded", "call", "--help")[1]
    assert "whose tasks" not in kernel(folder, "call", "--help")[1]


def test_events_takes_the_applications_options_for_it(folder):
    pytest.importorskip("bootsteps_consumer_events")
    (folder / "watched.py").write_text(
        "from bootsteps_tasks import App\nfrom bootsteps.cli import Option\napp = App('proj')\n"
        "app.user_options['events'].add(Option('--mine', help='an option of events'))\n"
    )
    assert "an option of events" in kernel(folder, "-A", "watched", "events", "--help")[1]
    assert "an option of events" not in kernel(folder, "-A", "watched", "call", "--help")[1]


def test_a_pool_of_the_applications_own(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    app = """
        from bootsteps_tasks import App
        from bootsteps_worker_pool_solo.step import SoloPool
        app = App("proj")

        class Mine(SoloPool):
            name = "MyPool"
            choice = "mine"

            def start(self, worker):
                super().start(worker)
                print("a pool of my own")

        app.steps["worker"].add(Mine)

        @app.task
        def add(x, y):
            return x + y
    """
    with running_worker(tmp_path, "-P", "mine", app=app) as worker:
        client = App("proj")
        assert client.send_task("proj.add", (40, 2)).get(timeout=10) == 42
        client.close()
        assert worker.stop() == 0
    assert "a pool of my own" in worker.log


def test_solo_runs_one_task_at_a_time_and_reserves_for_one(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    app = """
        import bootsteps
        from bootsteps_tasks import App
        app = App("proj")

        class Shows(bootsteps.Step):
            requires = ("Tasks",)

            def start(self, consumer):
                print("reserves", consumer.qos.value)

        app.steps["consumer"].add(Shows)
    """
    with running_worker(tmp_path, "-P", "solo", "--prefetch-multiplier", "3", app=app) as worker:
        assert worker.stop() == 0
    assert "reserves 3\n" in worker.log
    status, _, err = kernel(tmp_path, "-A", "proj", *DRY, "-c", "4")
    assert status == 2
    assert "solo" in err


def commands(group: click.Group, ctx: click.Context, path: str) -> Iterator[tuple[str, click.Command]]:
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, ctx, f"{path} {name}")


def test_the_help_of_every_command_has_an_example():
    with click.Context(root, obj=Session()) as ctx:
        found = dict(commands(root, ctx, "kernel"))
    assert len(found) > 20
    lines = {path: [line.strip() for line in (command.help or "").splitlines()] for path, command in found.items()}
    assert [path for path in lines if not any(line.startswith("kernel ") for line in lines[path])] == []
