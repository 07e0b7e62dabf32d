"""Links between our documents lead somewhere, and change log fragments have names that towncrier reads."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "changelog/README.md", "benchmarks/*.md", "examples/*/*.md")
    for path in ROOT.glob(pattern)
)
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
FRAGMENT = re.compile(r"(?P<folder>[a-z0-9-]+)\.\d+\.(?P<kind>[a-z]+)(\.\d+)?\.md")


def dead_links(text: str, folder: Path) -> list[str]:
    return [target for target in LINK.findall(FENCED.sub("", text)) if not (folder / target).exists()]


def fault_of_fragment(name: str) -> str | None:
    """Return what is wrong with the file name of a fragment."""
    match = FRAGMENT.fullmatch(name)
    if match is None:
        return f"{name}: not <folder>.<issue>.<kind>.md"
    if match["kind"] not in kinds():
        return f"{name}: kind {match['kind']!r} is none of {sorted(kinds())}"
    known = {"kernel", "workspace", *(path.name for path in ROOT.glob("plugins/*"))}
    return None if match["folder"] in known else f"{name}: there is no folder {match['folder']!r}"


def kinds() -> set[str]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["towncrier"]
    return {kind["directory"] for kind in settings["type"]}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_link_is_dead(document: Path) -> None:
    assert dead_links(document.read_text(), document.parent) == []


def test_a_dead_link_is_found() -> None:
    assert dead_links("[a](docs/README.md#x) [b](docs/NO.md) [c](https://x.test/y)", ROOT) == ["docs/NO.md"]
    assert dead_links("```python\nkey[int](name)\n```\n[a](NO.md)", ROOT) == ["NO.md"]


def test_every_fragment_is_named_so_that_it_gets_into_the_change_log() -> None:
    names = sorted(path.name for path in (ROOT / "changelog").iterdir() if path.name != "README.md")
    assert [fault for fault in map(fault_of_fragment, names) if fault] == []


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("kernel.2.added.md", None),
        ("kernel.2.added.1.md", None),
        ("kernel.added.md", "not <folder>"),
        ("kernel.2.feature.md", "kind 'feature'"),
        ("no-such-plugin.2.fixed.md", "no folder"),
    ],
)
def test_a_wrong_fragment_is_found(name: str, fault: str | None) -> None:
    found = fault_of_fragment(name)
    assert (found is None) if fault is None else (found is not None and fault in found)
