"""What ``pip install otel-usage`` adds to the environment of a click program: megabytes with bytecode, packages, imports.

    .venv/bin/python -m tests.bench.weight

Makes two environments under build/weight, one with click alone and one with the wheel besides, and prints the table of
docs/benchmarks.md, What an install adds. Sizes are of regular files, in megabytes of a million bytes, and do not depend on
what else the machine does; nor does the count of instructions, which needs valgrind.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from importlib.metadata import Distribution, distributions
from pathlib import Path

from tests.bench import lab
from tests.hosts import ROOT

FOLDER = ROOT / "build" / "weight"
# What each package is there for. A package that is not listed is named by itself.
PARTS = {
    "otel-usage": ("otel-usage",),
    "OpenTelemetry's API, SDK and conventions": (
        "opentelemetry-api", "opentelemetry-sdk", "opentelemetry-semantic-conventions",
    ),
    "OTLP over HTTP, and protobuf": (
        "opentelemetry-exporter-otlp", "opentelemetry-exporter-otlp-proto-http", "opentelemetry-exporter-otlp-proto-common",
        "opentelemetry-proto", "protobuf", "googleapis-common-protos",
    ),
    "OTLP over gRPC": ("opentelemetry-exporter-otlp-proto-grpc", "grpcio"),
    "requests": ("requests", "urllib3", "certifi", "charset-normalizer", "idna"),
}  # fmt: skip
# What loads a part, as the sender or an exporter loads it; on top of what the part itself needs of the others.
IMPORTS = {
    "otel-usage": "import otel_usage",
    "OpenTelemetry's API, SDK and conventions": "import opentelemetry.sdk.trace.export, opentelemetry.sdk.metrics.export",
    "OTLP over HTTP, and protobuf": "import opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "OTLP over gRPC": "import opentelemetry.exporter.otlp.proto.grpc.trace_exporter",
    "requests": "import requests",
}
WHO = {
    "otel-usage": "the program, of ring 0 alone; the sender the rest",
    "OpenTelemetry's API, SDK and conventions": "the sender",
    "OTLP over HTTP, and protobuf": "the sender, to OTLP",
    "OTLP over gRPC": "the sender, with `protocol: grpc` alone",
    "requests": "the sender",
}


def size_bytes(distribution: Distribution) -> int:
    """Return what a distribution's files take, with the bytecode of its modules."""
    paths = {Path(str(distribution.locate_file(file))) for file in distribution.files or ()}
    return sum(path.stat().st_size for path in paths if path.is_file())


def environment(name: str, *requirements: str) -> dict[str, int]:
    """Make an environment with *requirements*; return ``{distribution: bytes}`` of all that is in it but pip."""
    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    pip = [
        str(folder / "bin" / "python"),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--compile",
    ]
    subprocess.run([*pip, *requirements], check=True)
    [site] = folder.glob("lib/python*/site-packages")
    found = {row.metadata["Name"].lower().replace("_", "-"): size_bytes(row) for row in distributions(path=[str(site)])}
    return {package: size for package, size in found.items() if package not in ("pip", "setuptools")}


def import_costs() -> dict[str, float | None]:
    """Return the millions of instructions that importing each part costs in a program, with all that it imports."""
    python = str(FOLDER / "with" / "bin" / "python")
    program = FOLDER / "import.py"
    counts: dict[str, int | None] = {}
    for part, statement in {"": "", **IMPORTS}.items():
        program.write_text(statement + "\n")
        counts[part] = lab.instructions("", {"PATH": os.environ["PATH"]}, (), python=python, script_path=str(program))
    bare = counts.pop("")
    return {part: None if n is None or bare is None else (n - bare) / 1e6 for part, n in counts.items()}


def main() -> None:
    """Print the table."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    shutil.rmtree(FOLDER / "wheel", ignore_errors=True)
    subprocess.run([*wheel, "--no-build-isolation", "-w", str(FOLDER / "wheel"), str(ROOT)], check=True)
    [built] = (FOLDER / "wheel").glob("*.whl")
    before = environment("click", "click")
    after = environment("with", "click", str(built))
    added = {package: size for package, size in after.items() if package not in before}
    others = sorted(set(added) - {package for packages in PARTS.values() for package in packages})
    parts = {**PARTS, **{package: (package,) for package in others}}
    costs = import_costs()
    print("| part | packages | MB | M instructions to import | loaded by |\n| --- | --- | --- | --- | --- |")
    for part, packages in parts.items():
        sizes = [added[package] for package in packages if package in added]
        cost = costs.get(part)
        loads = "" if cost is None else f"{cost:.1f}"
        print(f"| {part} | {len(sizes)} | {sum(sizes) / 1e6:.1f} | {loads} | {WHO.get(part, 'the sender')} |")
    print(f"| **all that is added** | **{len(added)}** | **{sum(added.values()) / 1e6:.1f}** | | |")
    print(f"| click alone, for comparison | {len(before)} | {sum(before.values()) / 1e6:.1f} | | the program |")


if __name__ == "__main__":
    main()
