"""Read who imports whom from the source of the kernel and the plugins; `test_layers.py` judges it."""

import ast
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

__all__ = [
    "Distribution",
    "Import",
    "canonical",
    "cycle",
    "faults",
    "import_names",
    "imports",
    "read_distribution",
]

KERNEL = "bootsteps"
#: All that the kernel may import besides the standard library.
KERNEL_MAY = frozenset({"click", "importlib_metadata", "networkx", "pluggy"})
#: Distributions whose import name is not their own name with underscores, where they may be absent here.
IMPORT_NAMES = {"pyyaml": {"yaml"}, "msgpack": {"msgpack"}, "sqlalchemy": {"sqlalchemy"}}


@dataclass(frozen=True)
class Import:
    """One imported dotted name: `from a.b import c` is "a.b.c", since c may be a module."""

    name: str
    where: str  # file:line

    @property
    def top(self) -> str:
        return self.name.partition(".")[0]


@dataclass
class Distribution:
    """What matters here of one folder: its declarations and its imports."""

    name: str
    dependencies: set[str] = field(default_factory=set)  # canonical names, those of extras included
    imports: list[Import] = field(default_factory=list)

    @property
    def package(self) -> str:
        return self.name.replace("-", "_")


def canonical(requirement: str) -> str:
    """Return the canonical distribution name of a requirement: "Foo_Bar[x]>=1; marker" -> "foo-bar"."""
    match = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)", requirement)
    if match is None:
        raise ValueError(f"no requirement: {requirement!r}")
    return re.sub(r"[-_.]+", "-", match[1]).lower()


def read_distribution(folder: Path) -> Distribution:
    """Read pyproject.toml and all of src/ of one folder."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    extras = project.get("optional-dependencies", {}).values()
    required = [*project.get("dependencies", []), *(item for extra in extras for item in extra)]
    found = [
        item
        for path in sorted(folder.glob("src/**/*.py"))
        for item in imports(path.read_text(), str(path.relative_to(folder.parent.parent)), module_of(path, folder))
    ]
    return Distribution(canonical(project["name"]), {canonical(item) for item in required}, found)


def module_of(path: Path, folder: Path) -> str:
    """Return the dotted name of the package that relative imports of this file start from."""
    return ".".join(path.relative_to(folder / "src").parent.parts)


def imports(source: str, file: str, package: str) -> Iterator[Import]:
    """Yield every import of a source text, also those inside functions and under TYPE_CHECKING."""
    for node in ast.walk(ast.parse(source, file)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, f"{file}:{node.lineno}")
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                yield Import(f"{base}.{alias.name}", f"{file}:{node.lineno}")
        elif isinstance(node, ast.Call) and (name := imported_by_call(node)):
            yield Import(name, f"{file}:{node.lineno}")


def imported_by_call(node: ast.Call) -> str | None:
    """Return "x" for `importlib.import_module("x")`, `import_module("x")` and `__import__("x")`."""
    called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    literal = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
    if called in ("import_module", "__import__") and isinstance(literal, str) and not literal.startswith("."):
        return literal
    return None


def faults(dist: Distribution, members: dict[str, Distribution]) -> list[str]:
    """Return what one distribution imports and should not; `members` maps names to all distributions."""
    packages = {member.package: member for member in members.values()}
    allowed = KERNEL_MAY if dist.name == KERNEL else import_names(dist.dependencies - set(members))
    found = []
    for item in dist.imports:
        if item.top in sys.stdlib_module_names or item.top == dist.package:
            continue
        if item.top in packages:
            found += faults_between(dist, packages[item.top], item)
        elif item.top not in allowed:
            found.append(f"{item.where}: {dist.name} imports {item.top}, which {why_not(dist)}")
    return found


def why_not(dist: Distribution) -> str:
    return "the kernel may not" if dist.name == KERNEL else "no entry of its dependencies brings"


def faults_between(dist: Distribution, other: Distribution, item: Import) -> list[str]:
    """Return what is wrong with an import of another member."""
    if dist.name == KERNEL:
        return [f"{item.where}: the kernel imports the plugin {other.name}"]
    found = []
    if other.name not in dist.dependencies:
        found.append(f"{item.where}: {dist.name} imports {other.name}, which its dependencies do not name")
    private = [part for part in item.name.split(".")[1:] if part.startswith("_") and not part.endswith("__")]
    if private:
        found.append(f"{item.where}: {dist.name} imports {item.name}, and {private[0]} is private there")
    return found


def import_names(distributions: set[str]) -> set[str]:
    """Return the import names that these distributions bring: from what is installed, else by their names."""
    brought = importlib.metadata.packages_distributions()
    installed = {(top, canonical(owner)) for top, owners in brought.items() for owner in owners}
    names: set[str] = set()
    for name in distributions:
        known = {top for top, owner in installed if owner == name}
        names |= known or IMPORT_NAMES.get(name, {name.replace("-", "_")})
    return names


def cycle(edges: dict[str, set[str]]) -> list[str]:
    """Return one cycle as a path whose ends are equal, or an empty list. Same input, same answer."""
    done: set[str] = set()

    def visit(node: str, path: list[str]) -> list[str]:
        if node in path:
            return [*path[path.index(node) :], node]
        if node not in done:
            for target in sorted(edges.get(node, ())):
                if found := visit(target, [*path, node]):
                    return found
            done.add(node)
        return []

    for start in sorted(edges):
        if found := visit(start, []):
            return found
    return []
