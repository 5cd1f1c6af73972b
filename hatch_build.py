"""Put the modules that every recorded run needs together into few files, when a wheel is built.

Loading a module costs a run 0.13 M instructions however little is in it, so what is always loaded should lie in few
files; and code should be read in files of one noun each. So the readable parts stay as they are in the source tree, and
the wheel holds them one after the other, comments included, as sqlite does with its amalgamation. Nothing is minified:
people must be able to read what runs on their machines. docs/decisions tells what it saves.

ALGORITHM, for each file of `BUNDLES`
1. The imports of all parts come first, each name once. Imports of one part by another go; what is imported from a
   part of another bundle is imported from that bundle.
2. Blocks that only a type checker sees go.
3. The parts follow, each under a line that names it, its docstring as a comment.
4. Docstrings of functions and classes become comments, but for those of the front door, which people ask for:
   nobody sees the others at run time, and reading them costs every run.
5. Constants of spool/layout.py are written out where they are used.
6. Two parts that bind the same name are refused: the later would silently win.
7. The front door gets the table `_BUNDLED`, by which `_load`, and imports by a part's own name, find what was moved.

Editable installs use the parts. A test builds a wheel and holds its files against the parts: a stale one fails.
"""

from __future__ import annotations

import ast
import io
import shutil
import tempfile
import tokenize
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # read by a test, where nothing is built
    BuildHookInterface = object

PACKAGE = "otel_usage"
# {file in the wheel: its parts, in the order in which they are needed}. pyproject.toml leaves the parts out.
BUNDLES = {
    "__init__.py": ("consent/gate.py", "__init__.py"),
    "recording/bundle.py": (
        "recording/builtin_module.py",
        "recording/agent.py",
        "recording/otlp_text.py",
        "recording/frameworks.py",
        "recording/exit_watch.py",
        "recording/run.py",
        "recording/sender_start.py",
        "recording/recorder.py",
    ),
    "recording/argparse_adapter.py": ("recording/argparse_adapter.py",),
    "recording/click_adapter.py": ("recording/click_adapter.py",),
}
CONSTANTS = (
    "spool.layout"  # holds nothing but texts: bundles get a copy of those they use, and it stays in the wheel too
)
EMPTY_TABLE = "_BUNDLED = {}"


class BundleError(Exception):
    """Parts that cannot stand in one file. The text says which, and why."""


class Hook(BuildHookInterface):
    """What hatchling calls when it builds a wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the bundles to a wheel; an editable one uses the parts."""
        if version == "editable":
            return
        self.folder = Path(tempfile.mkdtemp(prefix="otel-usage-bundle-"))
        for name in BUNDLES:
            path = self.folder / name.replace("/", "-")
            path.write_text(bundle(Path(self.root), name), encoding="utf-8")
            build_data["force_include"][str(path)] = f"{PACKAGE}/{name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002  its shape
        """Remove what was only needed to build."""
        if version != "editable":
            shutil.rmtree(self.folder, ignore_errors=True)


def module_of(part: str) -> str:
    """Return the name of a part below the package: ``recording/run.py`` → ``recording.run``; "" for the front door."""
    return "" if part == "__init__.py" else part.removesuffix(".py").replace("/", ".")


def table() -> dict[str, str]:
    """Return ``{module: file of ours in which it stands}``, "" being the front door: what `_BUNDLED` holds."""
    return {module_of(part): module_of(name) for name, parts in BUNDLES.items() for part in parts if part != name}


def bundle(root: Path, name: str) -> str:
    """Return the text of the bundle *name*, made from the parts below *root*. Raises BundleError."""
    parts = [Part(root / PACKAGE / part, part) for part in BUNDLES[name]]
    together = {module_of(part.name) for part in parts}
    bound: dict[str, str] = {}
    for part in parts:
        for binding in part.bindings():
            if bound.setdefault(binding, part.name) != part.name:
                raise BundleError(f"{binding!r} is bound by {bound[binding]} and by {part.name}; rename one of them")
    imports: dict[tuple[int, str], dict[str, None]] = {}
    remarks: list[str] = []
    for part in parts:
        for module, aliases, remark in part.imports(module_of(name), together):
            imports.setdefault(module, {}).update(dict.fromkeys(aliases))
            remarks += [f"# {', '.join(aliases)}: {remark}"] if remark else []
    constants = imports.pop(next((key for key in imports if key[1] == CONSTANTS), (0, "")), {})
    values = _constants(root / PACKAGE / (CONSTANTS.replace(".", "/") + ".py"))
    for (_, module), aliases in imports.items():
        for alias in aliases:
            imported = alias.split(" as ")[-1]
            if imported in bound:
                raise BundleError(f"{imported!r} is imported from {module} and bound by {bound[imported]}")
    last = parts[-1]
    files = "".join(f"    {PACKAGE}/{part.name}\n" for part in parts)
    head = (
        last.docstring.strip().splitlines()[0] if name == last.name else "What every recorded run loads, in one file."
    )
    text = (
        f'"""{head}\n\nMade when the wheel was built, by hatch_build.py, from these files of the source distribution, '
        f"which are\nwhere to read and to change it; docs/decisions says what it saves:\n\n{files}"
        f'"""\n\n'
    )
    text += "\n".join(_statements(imports) + remarks) + "\n"
    if constants:
        text += f"\n# Of {PACKAGE}/{CONSTANTS.replace('.', '/')}.py:\n"
        text += "".join(f"{constant} = {values[constant]!r}\n" for constant in constants)
    for part in parts:
        text += f"\n\n# {'=' * 20} {PACKAGE}/{part.name} {'=' * 20}\n#\n"
        text += "".join(f"# {line}".rstrip() + "\n" for line in part.docstring.strip().splitlines())
        text += "\n" + part.body(docstrings=part.name == "__init__.py") + "\n"
    if EMPTY_TABLE in text:
        text = text.replace(EMPTY_TABLE, f"_BUNDLED = {table()!r}")
    compile(text, name, "exec")
    return text


def _constants(path: Path) -> dict[str, str]:
    """Return the constants of a module that holds nothing else. Raises BundleError."""
    values = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body[1:]:
        if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)):
            raise BundleError(f"{path}:{node.lineno} is no constant; only constants are copied")
        values.update(dict.fromkeys(_bound_by(node), node.value.value))
    return values


def _statements(imports: dict[tuple[int, str], dict[str, None]]) -> list[str]:
    """Return the imports as statements: absolute ones first. The key is (level, module); level -1 is ``import x``."""
    rows = []
    for (level, module), aliases in sorted(imports.items()):
        if level == -1:
            rows += [f"import {alias}" for alias in sorted(aliases)]
        else:
            rows.append(f"from {'.' * level}{module} import {', '.join(sorted(aliases))}")
    return rows


class Part:
    """One module of the source tree, to be put into a bundle."""

    def __init__(self, path: Path, name: str) -> None:
        self.name = name
        self.text = path.read_text(encoding="utf-8")
        self.tree = ast.parse(self.text)
        self.docstring = ast.get_docstring(self.tree, clean=False) or ""
        self.comments = {
            token.start[0]: token.string.lstrip("# ")
            for token in tokenize.generate_tokens(io.StringIO(self.text).readline)
            if token.type == tokenize.COMMENT
        }

    def bindings(self) -> list[str]:
        """Return the names that the part binds at its top, but for imports and what a type checker sees alone."""
        return [binding for node in self._kept_nodes() for binding in _bound_by(node)]

    def imports(self, bundle_module: str, together: set[str]) -> list[tuple[tuple[int, str], list[str], str]]:
        """Return ((level, module), names, remark) of what must be imported where the bundle stands.

        Levels are counted from the bundle's own package. together: modules in the bundle, which need no import.
        """
        rows = []
        depth = 1 if self.name == "__init__.py" else self.name.count("/") + 1
        bundle_depth = 1 if not bundle_module else bundle_module.count(".") + 1
        for node in self.tree.body:
            remark = self.comments.get(getattr(node, "lineno", 0), "")
            if remark.startswith(("type:", "noqa")):  # what follows a linter's or type checker's word is for people
                remark = remark.partition("#")[2].strip()
            if isinstance(node, ast.Import):
                rows.append(((-1, ""), [_alias(alias) for alias in node.names], remark))
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                rows.append(((0, node.module or ""), [_alias(alias) for alias in node.names], remark))
            elif isinstance(node, ast.ImportFrom):
                folders = self.name.split("/")[:-1]
                above = folders[: depth - node.level]
                module = ".".join([*above, *([node.module] if node.module else [])])
                if module not in together:
                    module = table().get(module, module)  # where it stands in the wheel
                    rows.append(((bundle_depth, module), [_alias(alias) for alias in node.names], remark))
        return rows

    def body(self, *, docstrings: bool) -> str:
        """Return the part's text without docstring, imports and blocks for type checkers; comments are kept.

        docstrings: keep those of public functions and classes; the others become comments.
        """
        lines = self.text.splitlines()
        for node in ast.walk(self.tree):
            documented = isinstance(node, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(node)
            if documented and (not docstrings or node.name.startswith("_")):
                _make_comment(lines, node.body[0], alone=len(node.body) == 1)
        kept = self._kept_nodes()
        rows: list[str] = []
        for node in self.tree.body:
            start = min([node.lineno, *[each.lineno for each in getattr(node, "decorator_list", [])]])
            lead = start - 1
            while lead > 0 and (not lines[lead - 1].strip() or lines[lead - 1].startswith("#")):
                lead -= 1
            before = lines[lead : start - 1]
            if node in kept:
                rows += [*before, *lines[start - 1 : node.end_lineno]]
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                rows += [line for line in before if line.startswith("#")]
            elif _is_for_type_checkers(node) and isinstance(node, ast.If) and node.orelse:
                first, last = node.orelse[0], node.orelse[-1]
                rows += [line[4:] for line in lines[first.lineno - 1 : last.end_lineno]]
        return "\n".join(rows).strip("\n")

    def _kept_nodes(self) -> list[ast.stmt]:
        nodes = []
        for node in self.tree.body:
            docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            if not (docstring or isinstance(node, (ast.Import, ast.ImportFrom)) or _is_for_type_checkers(node)):
                nodes.append(node)
        return nodes


def _make_comment(lines: list[str], docstring: ast.stmt, *, alone: bool) -> None:
    """Make the docstring a comment. alone: nothing follows it, so that something must stand for it."""
    for number in range(docstring.lineno - 1, docstring.end_lineno or docstring.lineno):
        line = lines[number]
        indent = " " * docstring.col_offset
        lines[number] = f"{indent}# {line.strip().strip(chr(34))}".rstrip()
    if alone:
        lines[(docstring.end_lineno or docstring.lineno) - 1] += f"\n{' ' * docstring.col_offset}pass"


def _alias(alias: ast.alias) -> str:
    return alias.name + (f" as {alias.asname}" if alias.asname else "")


def _bound_by(node: ast.stmt) -> list[str]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [inner.id for target in targets for inner in ast.walk(target) if isinstance(inner, ast.Name)]


def _is_for_type_checkers(node: ast.stmt) -> bool:
    """True for ``TYPE_CHECKING = False`` and ``if TYPE_CHECKING: …``."""
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    return isinstance(node, ast.Assign) and "TYPE_CHECKING" in _bound_by(node)
