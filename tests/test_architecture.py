"""The house's rules: no import circles, arrows point down only, `model` does no I/O; and what docs/design.md says."""

from __future__ import annotations

import ast
import graphlib
import importlib
import re
from pathlib import Path

import msgspec
import pytest

from restrike import sources, targets, verbs
from restrike.selecting import request as selecting
from restrike.selecting.request import SelectionRequest
from restrike.touching import engine

SOURCE = Path(__file__).parent.parent / "src" / "restrike"
LAYERS = [
    {"cli", "api"},
    {"verbs"},
    {"touching", "replaying", "capturing", "exporting", "diagnosing", "auditing", "local"},
    {"sources", "targets"},
    {"selecting", "archive", "wiring"},
    {"running", "stores"},
    {"aws"},
    {"model"},
    {"errors"},
]
"""Top to bottom. A package may import from its own part and from below, never from beside or above."""
LONGEST_FILE_LINES = 450
PUBLIC = "restrike"  # the public API in __init__: imports what it needs, and nothing inside imports it
PURE = {
    "__future__", "base64", "binascii", "bisect", "calendar", "collections", "dataclasses", "datetime", "decimal",
    "enum", "functools", "hashlib", "itertools", "json", "math", "msgspec", "operator", "re", "shlex", "statistics",
    "string", "typing",
}  # fmt: skip


def modules() -> dict[str, Path]:
    found = {}
    for path in SOURCE.rglob("*.py"):
        parts = ("restrike", *path.relative_to(SOURCE).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(path: Path) -> set[str]:
    """Every module that the file imports, wherever in it; names that stand only for types too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            assert node.module is not None
            found.update(
                full if (full := f"{node.module}.{alias.name}") in MODULES else node.module for alias in node.names
            )
    return found


def part(module: str) -> str:
    names = module.split(".")
    return names[1] if len(names) > 1 else PUBLIC


def layer(module: str) -> int:
    return next(number for number, parts in enumerate(LAYERS) if part(module) in parts)


def test_every_module_has_its_layer() -> None:
    strays = [module for module in MODULES if module != PUBLIC and not any(part(module) in names for names in LAYERS)]
    assert strays == []


def test_there_is_no_circle() -> None:
    graph = {name: {used for used in imports(path) if used in MODULES} for name, path in MODULES.items()}
    list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


@pytest.mark.parametrize("module", sorted(set(MODULES) - {PUBLIC}))
def test_arrows_point_down(module: str) -> None:
    for used in imports(MODULES[module]):
        if used in MODULES and part(used) != part(module):
            if used == PUBLIC:
                assert part(module) == "cli", f"{module} imports the public API"
                continue
            assert layer(used) > layer(module), f"{module} imports {used}, which is not below it"


@pytest.mark.parametrize("module", sorted(name for name in MODULES if part(name) == "model"))
def test_the_model_does_no_io(module: str) -> None:
    outside = {used.split(".")[0] for used in imports(MODULES[module]) if used not in MODULES}
    assert outside <= PURE
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    calls = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not calls & {"open", "print", "input"}
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not attributes & {"now", "today", "utcnow"}, "no clock"


@pytest.mark.parametrize(("library", "room"), [("botocore", "aws"), ("aiohttp", "aws"), ("obstore", "stores")])
def test_one_room_knows_what_talks_to_it(library: str, room: str) -> None:
    knowing = {part(name) for name, path in MODULES.items() if library in {
        used.split(".")[0] for used in imports(path)
    }}  # fmt: skip
    assert knowing == {room}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_file_is_one_idea(module: str) -> None:
    lines = MODULES[module].read_text(encoding="utf-8").splitlines()
    assert len(lines) <= LONGEST_FILE_LINES


@pytest.mark.parametrize("module", sorted(name for name in MODULES if part(name) not in ("sources", "targets")))
def test_nothing_asks_for_the_kind_of_a_source_or_target(module: str) -> None:
    """Neither compares with a scheme nor looks whether a text begins with one: the lists of kinds do."""
    schemes = {*sources.MODULES, *targets.MODULES} - {"table"}  # `table` is a word of DynamoDB, too
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Compare):
            asked: list[ast.expr] = [node.left, *node.comparators]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "startswith":
            asked = list(node.args)
        else:
            continue
        texts = {each.value for part in asked for each in ast.walk(part) if isinstance(each, ast.Constant)}
        assert not texts & {*schemes, *(f"{scheme}:" for scheme in schemes)}, f"{module}:{node.lineno}"


def rows() -> list[tuple[str, str, str]]:
    """What docs/design.md says has to be written for a new …, and where a line goes."""
    page = (SOURCE.parent.parent / "docs" / "design.md").read_text(encoding="utf-8")
    table = page.split("## What must be written for a new …")[1].split("\n\n")[1]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    return [(row[0], row[1], row[2]) for row in cells]


def test_the_table_of_what_to_write_names_them_all() -> None:
    assert [row[0] for row in rows()] == ["source", "target", "verb that makes runs", "kind of write", "selection flag"]


@pytest.mark.parametrize(("new", "write", "line"), rows(), ids=lambda value: value.split()[0])
def test_what_the_table_names_is_there(new: str, write: str, line: str) -> None:
    """Each package that a file goes into, each class that it fulfils, each list that gets a line, each page."""
    for name in re.findall(r"`([\w./<>]+)`", write + line):
        if name.endswith(("/", ".py")):
            assert (SOURCE / name).parent.is_dir(), name
        elif "." in name:
            module, _, member = f"restrike.{name}".rpartition(".")
            assert f"{module}.{member}" in MODULES or hasattr(importlib.import_module(module), member), name
        elif name not in ("KIND", "VERB"):
            assert any(f"class {name}" in path.read_text(encoding="utf-8") for path in MODULES.values()), name
    for page in re.findall(r"docs/\w+\.md", line):
        assert (SOURCE.parent.parent / page).is_file(), page


def test_each_list_is_where_the_rest_comes_from() -> None:
    """Every module of the lists has what the table says that it must have."""
    for module in (*sources.MODULES.values(), *targets.MODULES.values()):
        assert hasattr(importlib.import_module(module), "KIND"), module
    for verb, package in verbs.PACKAGES.items():
        assert importlib.import_module(f"{package}.run").VERB.name == verb
        assert callable(importlib.import_module(f"{package}.plan").resume)
        declared = importlib.import_module(f"{package}.permissions")
        assert callable(declared.needs)
        assert callable(declared.asked_of)
        assert {f"restrike.cli.{verb}", f"restrike.cli.render.{verb}"} <= set(MODULES)
    for mode in engine.KINDS.values():
        assert part(mode.__module__) == "touching"
    fields = {field.name for field in msgspec.structs.fields(SelectionRequest)}
    assert {flag.to for flag in selecting.FLAGS} == fields
