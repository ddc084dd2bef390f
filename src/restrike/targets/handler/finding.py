"""Whether a handler is there, without running a line of it.

Importing runs code, and the code of packages above a module too: a plan must not. So the finders are asked, from the
outermost package in, and of a module in source the names that its top level binds are read. What is only decided when
it runs (`import *`, a `__getattr__`, a package that changes its `__path__`) stays unknown, and counts as found: the
worker that imports it has the last word.
"""

from __future__ import annotations

import ast
import importlib
import importlib.machinery
import sys
import tokenize
from collections.abc import Iterable, Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from restrike.errors import UsageError

_DECIDED_WHEN_IT_RUNS = frozenset({"globals", "exec", "eval", "setattr", "__getattr__", "__dict__", "modules"})


def check_found(module: str, function: str, folder: Path) -> None:
    """UsageError where that module, imported from that folder, is surely not there or surely has no such name."""
    importlib.invalidate_caches()
    outermost, *inner = module.split(".")
    spec = _top(outermost, folder)
    name = outermost
    if spec is None:
        raise _not_there(module, function, name)
    for part in inner:
        name = f"{name}.{part}"
        package, spec = spec, _inner(name, spec)
        if spec is None:
            if _may_change_path(package):
                return
            raise _not_there(module, function, name)
    tree = _tree(spec, module, function)
    if tree is not None and not _may_bind(tree, function):
        raise no_handler(
            module, function, f"AttributeError: module {module!r} has no attribute {function!r} ({spec.origin})"
        )


def no_handler(module: str, function: str, what: str) -> UsageError:
    return UsageError(
        f"handler:{module}:{function} cannot be used: {what}",
        f"Check that `python -c 'from {module} import {function}'` works here, with {sys.executable}.",
    )


def _not_there(module: str, function: str, name: str) -> UsageError:
    return no_handler(module, function, f"ModuleNotFoundError: No module named {name!r}")


def _top(name: str, folder: Path) -> ModuleSpec | None:
    """A module that is in no package: of that folder, of our own path, or of a finder that was put in beside them."""
    found = PathFinder.find_spec(name, [str(folder), *sys.path])
    others = (finder for finder in sys.meta_path if finder is not PathFinder)
    return found or next((spec for finder in others if (spec := finder.find_spec(name, None))), None)


def _inner(name: str, package: ModuleSpec) -> ModuleSpec | None:
    places = package.submodule_search_locations
    # By its last part: finders look for no more, and would want the package of a longer one imported.
    return None if places is None else PathFinder.find_spec(name.rpartition(".")[2], list(places))


def _may_change_path(package: ModuleSpec) -> bool:
    """Whether what is inside that package can be told by its folder alone."""
    if package.origin is None and package.submodule_search_locations is not None:
        return False  # a namespace: it has no code
    source = _source(package)
    return source is None or "__path__" in source or "sys.modules" in source


def _source(spec: ModuleSpec) -> str | None:
    if spec.origin is None or not spec.origin.endswith(".py"):
        return None
    try:
        with tokenize.open(spec.origin) as file:
            return file.read()
    except (OSError, SyntaxError, UnicodeDecodeError):
        return None


def _tree(spec: ModuleSpec, module: str, function: str) -> ast.Module | None:
    source = _source(spec)
    if source is None:
        return None
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError) as error:
        raise no_handler(module, function, f"{type(error).__name__}: {error}") from None


def _may_bind(tree: ast.Module, function: str) -> bool:
    for node in ast.walk(tree):
        names = (getattr(node, "id", None), getattr(node, "attr", None), getattr(node, "name", None))
        if _DECIDED_WHEN_IT_RUNS.intersection(name for name in names if isinstance(name, str)):
            return True
    return any(name in (function, "*") for name in _bound(tree.body))


def _bound(body: Iterable[ast.stmt]) -> Iterator[str]:
    """Every name that those statements can bind, also in their branches; not inside functions and classes."""
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield statement.name
            yield from _global(statement)
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield node.name
            elif isinstance(node, ast.Import | ast.ImportFrom):
                yield from ((alias.asname or alias.name).partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id
            elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
                yield node.name


def _global(statement: ast.stmt) -> Iterator[str]:
    """What a function may bind at the top by `global`."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Global):
            yield from node.names
