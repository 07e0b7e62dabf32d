"""What is installed is found from metadata alone, and found the same as by importlib_metadata."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import importlib_metadata
import pytest

from bootsteps import Catalogue, scan
from bootsteps.discovery import GROUPS, Broken, Plugin, scan_once
from bootsteps.errors import LoadError

STEP = "from bootsteps import Step\nclass A(Step): pass\nclass B(Step): pass\n"


def by_reference() -> list[tuple[str, str, str, str, str]]:
    found = []
    seen = set()
    for dist in importlib_metadata.distributions():
        name = dist.metadata["Name"].lower().replace("_", "-").replace(".", "-")
        if name in seen:
            continue
        seen.add(name)
        points = [p for p in dist.entry_points if p.group in GROUPS or p.group.endswith(".steps")]
        found += [(point.group, point.name, point.value, name, dist.version) for point in points]
    return sorted(found)


def facts(plugins: list[Plugin]) -> list[tuple[str, str, str, str, str]]:
    return [(p.group, p.name, p.value, p.dist, p.version) for p in plugins if not p.shadowed]


def test_our_reader_and_importlib_metadata_agree(make_dist, tmp_path):
    make_dist("one-two", {"worker.steps": {"A": "one:A"}, "console_scripts": {"x": "one:main"}})
    make_dist(
        "Dotted.Name", {"consumer.steps": {"event loop": "two:Loop"}, "kernel.hooks": {"h": "two"}}, folder="other"
    )
    assert ("consumer.steps", "event loop", "two:Loop", "dotted-name", "1.0") in facts(scan())
    assert facts(scan()) == by_reference()


def test_lines_that_no_build_tool_writes_are_read_as_by_importlib_metadata(make_dist):
    site = make_dist("odd", {})
    text = """
        # x = one:X
        [worker.steps]
        A=odd:A
        # B = odd:B
        B = odd : B [extra, more]
        C = odd:C
        C = odd:D

        [console_scripts]
        k = odd:main
        [my.own.group]
        E = odd:E
    """
    (site / "odd-1.0.dist-info" / "entry_points.txt").write_text(text)
    found = [fact for fact in facts(scan()) if fact[3] == "odd"]
    assert [name for _, name, *_ in found] == ["A", "B", "C", "C"]
    assert [fact[:2] for fact in found] == [fact[:2] for fact in by_reference() if fact[3] == "odd"]


def test_what_was_found_is_remembered_for_the_same_path(make_dist):
    site = make_dist("early", {"worker.steps": {"Early": "early:A"}})
    assert "Early" in {plugin.name for plugin in scan_once()}
    (site / "early-1.0.dist-info" / "entry_points.txt").unlink()
    assert "Early" in {plugin.name for plugin in scan_once()}
    make_dist("late", {"worker.steps": {"Late": "late:A"}}, folder="another")
    assert {"Early", "Late"} & {plugin.name for plugin in scan_once()} == {"Late"}


def test_a_zip_on_the_path_is_read_by_importlib_metadata(make_dist, tmp_path, monkeypatch):
    import zipfile

    site = make_dist("zipped", {"worker.steps": {"Z": "zipped:Z"}}, folder="to_zip")
    archive = tmp_path / "lib.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        for file in site.rglob("*"):
            zipped.write(file, file.relative_to(site))
    monkeypatch.setattr(sys, "path", [str(archive), *[entry for entry in sys.path if entry != str(site)]])
    assert ("worker.steps", "Z", "zipped:Z", "zipped", "1.0") in facts(scan())


def test_the_order_of_the_path_does_not_matter(make_dist, monkeypatch):
    for number in range(8):
        make_dist(f"dist-{number}", {"worker.steps": {f"S{number}": f"m{number}:S"}}, folder=f"f{number}")
    expected = scan()
    shuffled = list(sys.path)
    random.Random(7).shuffle(shuffled)
    monkeypatch.setattr(sys, "path", shuffled)
    assert scan() == expected


def test_the_current_directory_is_not_searched(make_dist, tmp_path, monkeypatch):
    site = make_dist("lurker", {"worker.steps": {"Lurks": "lurker:L"}})
    monkeypatch.chdir(site)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    assert "Lurks" not in {plugin.name for plugin in scan()}


def test_a_second_distribution_of_one_name_is_shadowed(make_dist):
    make_dist("twice", {"worker.steps": {"Old": "old:S"}}, version="1.0", folder="a")
    make_dist("twice", {"worker.steps": {"New": "new:S"}}, version="2.0", folder="b")  # comes first on the path
    found = {plugin.name: plugin.shadowed for plugin in scan() if plugin.dist == "twice"}
    assert found == {"New": False, "Old": True}


def test_nothing_is_imported_by_the_scan(make_dist):
    make_dist("noisy", {"worker.steps": {"N": "noisy_module:N"}}, {"noisy_module": "raise RuntimeError('imported')"})
    assert "N" in {plugin.name for plugin in scan()}
    assert "noisy_module" not in sys.modules


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("broken_module:A", "RuntimeError: no good"),
        ("nowhere_at_all:A", "No module named 'nowhere_at_all'"),
        ("fine_module:Missing", "has no attribute 'Missing'"),
    ],
)
def test_what_cannot_be_loaded_says_whose_it_is_and_what_to_do(make_dist, value, reason):
    modules = {"broken_module": "raise RuntimeError('no good')", "fine_module": STEP}
    make_dist("bad-dist", {"worker.steps": {"Bad": value}}, modules, version="3.1")
    [plugin] = [plugin for plugin in scan() if plugin.name == "Bad"]
    with pytest.raises(LoadError) as caught:
        plugin.load()
    text = str(caught.value)
    assert reason in text
    assert "worker.steps:Bad (bad-dist 3.1)" in text
    assert "--without Bad" in text


def test_a_plugin_is_imported_once_and_a_failure_is_kept(make_dist):
    make_dist("once", {"worker.steps": {"A": "once_module:A", "X": "once_module:X"}}, {"once_module": STEP})
    catalogue = Catalogue(scan())
    a, x = (next(p for p in catalogue.plugins if p.name == name) for name in "AX")
    assert catalogue.load(a) is catalogue.load(a)
    assert isinstance(catalogue.load(x), Broken)


@pytest.mark.parametrize("name", ["Timer", "worker.steps:Timer", "bootsteps-worker-timer"])
def test_a_plugin_is_switched_off_by_each_of_its_names(name):
    timer = Plugin("worker.steps", "Timer", "t:T", "bootsteps-worker-timer", "1")
    other = Plugin("consumer.steps", "Heart", "h:H", "bootsteps-consumer-heart", "1")
    catalogue = Catalogue([timer, other], without=[name])
    assert catalogue.plugins == (other,)
    assert not catalogue.unknown_names()


def test_an_unknown_name_gets_a_near_one():
    catalogue = Catalogue([Plugin("worker.steps", "Timer", "t:T", "d", "1")], without=["Tmer"])
    [fault] = catalogue.unknown_names()
    assert "'Tmer'" in str(fault)
    assert "did you mean 'Timer'?" in str(fault)


def test_an_editable_install_is_found(tmp_path: Path):
    assert any(plugin.dist == "bootsteps" for plugin in scan()) is False  # the kernel offers no plugin of its own
