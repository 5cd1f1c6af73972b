"""What the tests of the house read: our modules, what they import, which ring they are in."""

from __future__ import annotations

import ast
from pathlib import Path

from ..hosts import ROOT

PACKAGES = {"otel_usage": ROOT / "otel_usage", "otel_usage_exporters": ROOT / "exporters" / "otel_usage_exporters"}
# A folder is a ring. What is not named is ring 1.
RINGS = {"otel_usage.consent": 0, "otel_usage.recording": 0, "otel_usage.server": 2, "otel_usage.serve": 2}
# But for these modules, which lie where they belong by what they are about.
EXCEPTIONS = {
    "otel_usage": 0,
    "otel_usage.aliases": 0,
    "otel_usage.setting_error": 0,
    "otel_usage.schema.fields": 0,
    "otel_usage.spool.layout": 0,
    "otel_usage.relay.app": 2,  # forwards to server/ for one release
    "otel_usage.relay.destination": 2,
}
# Importing one of these packages runs next to nothing, whatever ring its modules are in.
THIN = {"otel_usage.schema", "otel_usage.spool"}


def name_of(path: Path) -> str:
    """Return the dotted name of one of our modules."""
    for package, folder in PACKAGES.items():
        if path.is_relative_to(folder):
            parts = [package, *path.relative_to(folder).with_suffix("").parts]
            return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    raise ValueError(path)


def is_started_alone(path: Path) -> bool:
    """True for what an interpreter runs before it knows of us: put on a program's path by `otel-usage run` and verify."""
    return "startup" in path.parts


PATHS = sorted(path for folder in PACKAGES.values() for path in folder.rglob("*.py"))
MODULES = {name_of(path): path for path in PATHS if not is_started_alone(path)}
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in PATHS}


def ring(module: str) -> int:
    """Return the ring of a module, by its folder."""
    if module in EXCEPTIONS:
        return EXCEPTIONS[module]
    return RINGS.get(".".join(module.split(".")[:2]), 1)


def nodes(tree: ast.AST, *, top: bool = False) -> list[ast.AST]:
    """Return what runs: without the blocks that only a type checker sees. top: without the bodies of functions."""
    found = []
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            found += [node for other in child.orelse for node in (other, *nodes(other, top=top))]
        elif not (top and isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))):
            found += [child, *nodes(child, top=top)]
    return found


def imports(module: str, *, top: bool = False) -> set[str]:
    """Return our modules that *module* imports. top: only those it imports when it is itself imported."""
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found = set()
    for node in nodes(TREES[path], top=top):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                found.add(f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base)
    return {name for name in found if name in MODULES and name != module}
