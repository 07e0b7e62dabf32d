"""Who may import whom: the kernel no plugin, a plugin only what it declares, nobody in circles."""

from pathlib import Path

import pytest

from layers import Distribution, canonical, cycle, faults, import_names, imports, read_distribution

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = [ROOT / "kernel", *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))]
MEMBERS = {dist.name: dist for dist in map(read_distribution, FOLDERS)}


def made(name: str, *lines: str, needs: tuple[str, ...] = ()) -> Distribution:
    """Return a made-up distribution with these lines as its source."""
    package = name.replace("-", "_")
    return Distribution(name, set(needs), list(imports("\n".join(lines), "step.py", package)))


def judged(*distributions: Distribution) -> list[str]:
    """Return the faults of the last one among all."""
    return faults(distributions[-1], {dist.name: dist for dist in distributions})


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_imports_only_what_it_may(folder: Path) -> None:
    found = faults(read_distribution(folder), MEMBERS)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_has_the_anatomy_of_a_distribution(folder: Path) -> None:
    dist = MEMBERS[read_distribution(folder).name]
    source = folder / "src" / dist.package
    assert dist.name == ("bootsteps" if folder.name == "kernel" else f"bootsteps-{folder.name}")
    assert [path.name for path in (folder / "src").iterdir() if path.name != "__pycache__"] == [dist.package]
    assert (source / "__init__.py").is_file()
    assert (source / "py.typed").is_file()
    assert (folder / "README.md").read_text().strip()


def test_dependencies_and_imports_make_no_circle() -> None:
    owners = {dist.package: dist.name for dist in MEMBERS.values()}
    declared = {dist.name: dist.dependencies & set(MEMBERS) for dist in MEMBERS.values()}
    imported = {
        dist.name: {owners[item.top] for item in dist.imports if item.top in owners} - {dist.name}
        for dist in MEMBERS.values()
    }
    assert cycle(declared) == []
    assert cycle(imported) == []


# The judges judged: each rule, broken in a made-up source.

KERNEL = made("bootsteps")
HUB = made("bootsteps-worker-hub", needs=("bootsteps",))


def test_the_kernel_may_import_four_libraries_and_the_standard_one() -> None:
    assert judged(made("bootsteps", "import click, networkx, pluggy, importlib_metadata, json")) == []
    assert "imports kombu, which the kernel may not" in judged(made("bootsteps", "import kombu"))[0]


def test_the_kernel_may_import_no_plugin_not_even_inside_a_function() -> None:
    source = "def f():\n    from bootsteps_worker_hub import HUB"
    assert judged(HUB, made("bootsteps", source)) == ["step.py:2: the kernel imports the plugin bootsteps-worker-hub"]


def test_a_plugin_may_import_the_kernel_and_what_it_declares() -> None:
    source = "import bootsteps, kombu.pools, os\nfrom bootsteps_worker_hub import HUB\nfrom . import _own"
    needs = ("bootsteps", "bootsteps-worker-hub", "kombu")
    assert judged(KERNEL, HUB, made("bootsteps-x", source, needs=needs)) == []


@pytest.mark.parametrize(
    "source",
    [
        "import bootsteps_worker_hub",
        "from bootsteps_worker_hub.step import Hub",
        "if TYPE_CHECKING:\n    import bootsteps_worker_hub.step as s",
        "import importlib\nimportlib.import_module('bootsteps_worker_hub')",
        "__import__('bootsteps_worker_hub')",
    ],
)
def test_an_undeclared_sibling_is_found(source: str) -> None:
    found = judged(KERNEL, HUB, made("bootsteps-x", source, needs=("bootsteps",)))
    assert len(found) == 1
    assert "bootsteps-x imports bootsteps-worker-hub, which its dependencies do not name" in found[0]


def test_an_undeclared_library_is_found() -> None:
    found = judged(KERNEL, made("bootsteps-x", "import kombu", needs=("bootsteps",)))
    assert found == ["step.py:1: bootsteps-x imports kombu, which no entry of its dependencies brings"]


@pytest.mark.parametrize(
    "source",
    [
        "from bootsteps_worker_hub._loop import Loop",
        "from bootsteps_worker_hub import _loop",
        "from bootsteps_worker_hub.step import _turn",
        "import bootsteps_worker_hub._loop",
    ],
)
def test_a_private_name_of_a_sibling_is_found(source: str) -> None:
    needs = ("bootsteps", "bootsteps-worker-hub")
    found = judged(KERNEL, HUB, made("bootsteps-x", source, needs=needs))
    assert len(found) == 1
    assert "is private there" in found[0]


def test_private_names_of_the_kernel_are_private_too_and_dunders_are_not() -> None:
    assert judged(KERNEL, made("bootsteps-x", "from bootsteps import __version__", needs=("bootsteps",))) == []
    assert judged(KERNEL, made("bootsteps-x", "from bootsteps import _app", needs=("bootsteps",))) != []


def test_relative_imports_are_resolved() -> None:
    names = [item.name for item in imports("from . import a\nfrom ..b import c\nfrom .d import e", "f.py", "p.q")]
    assert names == ["p.q.a", "p.b.c", "p.q.d.e"]


def test_a_distribution_is_known_by_its_import_names() -> None:
    assert import_names({"pytest-timeout"}) == {"pytest_timeout"}
    assert import_names({"pyyaml", "not-installed"}) >= {"yaml", "not_installed"}
    assert canonical("Foo_Bar[png]>=1,<2; python_version > '3'") == "foo-bar"


def test_a_circle_is_shown_as_a_path() -> None:
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_a_folder_is_read_with_its_extras(tmp_path: Path) -> None:
    source = tmp_path / "plugins" / "x" / "src" / "bootsteps_x"
    source.mkdir(parents=True)
    source.parent.parent.joinpath("pyproject.toml").write_text(
        '[project]\nname = "bootsteps-x"\ndependencies = ["bootsteps>=0.1"]\n'
        'optional-dependencies = { png = ["Resvg_Py"] }\n'
    )
    source.joinpath("step.py").write_text("\nfrom .keys import KEY\n")
    dist = read_distribution(source.parent.parent)
    assert (dist.name, dist.dependencies) == ("bootsteps-x", {"bootsteps", "resvg-py"})
    assert [(item.name, item.where) for item in dist.imports] == [
        ("bootsteps_x.keys.KEY", "plugins/x/src/bootsteps_x/step.py:2")
    ]
