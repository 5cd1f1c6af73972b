"""Installing the package instruments no process: the entry point acts for the program that the service is, or where it is asked."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

pytest.importorskip("opentelemetry.instrumentation.auto_instrumentation")

# As opentelemetry-instrument's: loaded when the interpreter starts, before the program is known to be a module.
SITE = """
import otel_usage.otel
instrumentor = otel_usage.otel.OwnProgramInstrumentor()
instrumentor.instrument(skip_dep_check=True)
print(otel_usage.otel.UsageInstrumentor()._observer is not None)
instrumentor.uninstrument()
"""
SERVICE, INSTRUMENT = "OTEL_SERVICE_NAME", "OTEL_USAGE_INSTRUMENT"


@pytest.mark.parametrize(
    ("words", "environ", "expected"),
    [
        (["mycli", "report"], {SERVICE: "mycli"}, True),
        (["my_cli.py"], {SERVICE: "My-CLI"}, True),
        (["-m", "pkg.mycli", "run"], {SERVICE: "mycli"}, True),
        (["mycli"], {"OTEL_RESOURCE_ATTRIBUTES": "a=b, service.name=mycli"}, True),
        (["mycli"], {}, False),
        (["flask", "run"], {SERVICE: "orders"}, False),
        (["gunicorn", "orders:app"], {SERVICE: "orders"}, False),
        (["-m", "pkg.uvicorn", "orders:app"], {SERVICE: "orders"}, False),
        (["-c", "pass"], {SERVICE: "orders"}, False),
        (["flask", "run"], {SERVICE: "orders", INSTRUMENT: "true"}, True),
        (["mycli"], {SERVICE: "mycli", INSTRUMENT: "false"}, False),
    ],
)
def test_which_program_is_instrumented(words, environ, expected, tmp_path):
    """The one that the service's name names, and no server; the switch decides whatever it is."""
    (tmp_path / "sitecustomize.py").write_text(SITE)
    (tmp_path / "pkg").mkdir()
    for name in ("mycli", "my_cli.py", "flask", "gunicorn", "pkg/__init__.py", "pkg/mycli.py", "pkg/uvicorn.py"):
        (tmp_path / name).write_text("")
    path = f"{tmp_path}{os.pathsep}{os.pathsep.join(p for p in sys.path if p)}"
    plain = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": path, "OTEL_USAGE_SENDER": "none"}

    ended = subprocess.run(
        [sys.executable, *words],
        cwd=tmp_path, env={**plain, **environ}, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert (f"{expected}\n", "") == (ended.stdout, ended.stderr)


def test_the_entry_point_is_the_careful_one():
    """``opentelemetry-instrument`` loads what asks first; code that calls `UsageInstrumentor` itself is not asked."""
    [point] = entry_points(group="opentelemetry_instrumentor", name="usage")

    assert "otel_usage.otel:OwnProgramInstrumentor" == point.value
