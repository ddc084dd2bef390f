"""The house's rules: no import circles, arrows point down only, `model` does no I/O."""

from __future__ import annotations

import ast
import graphlib
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "restrike"
LAYERS = [
    {"cli"},
    {"replaying", "capturing", "local"},
    {"touching"},
    {"sources", "targets"},
    {"selecting", "archive"},
    {"runs", "stores"},
    {"aws"},
    {"model"},
    {"errors"},
]
"""Top to bottom. A package may import from its own part and from below, never from beside or above."""
PUBLIC = "restrike"  # the public API in __init__: imports what it needs, and nothing inside imports it
PURE = {
    "__future__", "base64", "binascii", "calendar", "collections", "dataclasses", "datetime", "decimal", "enum",
    "functools", "hashlib", "itertools", "json", "math", "msgspec", "operator", "re", "string", "typing",
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
