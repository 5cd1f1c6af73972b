"""Programs that know nothing of us: recorded from outside, or by a wrapper of three lines, and through the OTel API."""

from __future__ import annotations

import os
import signal
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from ..hosts import Ended, Host, Span, spans_in, until
from ..spools import Sink

BIN = Path(sys.executable).parent


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A user who has the programs of this environment, and no telemetry settings."""
    made = Host(tmp_path)
    made.environ["PATH"] = f"{BIN}{os.pathsep}{made.environ['PATH']}"
    del made.environ["PROG_TELEMETRY"], made.environ["PYTHONPATH"]
    return made


def run(host: Host, *words: str, **options: Any) -> Ended:
    """Run ``otel-usage run -- words``."""
    process = host.start("-m", "otel_usage.cli", "run", *words, **options)
    out, err = process.communicate(timeout=60)
    return Ended(process.returncode, out, err)


def recorded(host: Host, app: str) -> Span:
    """Return the one span recorded for *app*."""
    (file,) = (host.home / app / "1" / "new").iterdir()
    (span,) = spans_in(file)
    return span


# (program, arguments, exit code, outcome, command, options)
FOREIGN = [
    (
        "http",
        ["--offline", "--verbose", "GET", "example.org/secret"],
        0,
        "success",
        "(root)",
        ["--offline", "--verbose"],
    ),
    ("http", ["--no-such-option-secret"], 1, "failure", "(root)", []),
    ("http", ["--help"], 0, "success", "(root)", ["--help"]),  # it catches the exit of its own help
    (
        "sqlite-utils",
        ["create-table", "db", "secret", "id", "integer", "--pk", "id"],
        0,
        "success",
        "create-table",
        ["--pk"],
    ),
    ("sqlite-utils", ["tables", "secret.db"], 2, "usage_error", "tables", []),
    ("sqlite-utils", ["secret-command"], 2, "usage_error", "query", []),  # its default command
    ("sqlite-utils", ["insert", "--help"], 0, "help", "insert", ["--help"]),
    ("typer", ["secret.py", "utils", "docs", "--name", "secret"], 1, "failure", "(root)", []),  # no such file
    ("typer", ["host.py", "utils", "docs", "--name", "secret"], 0, "success", "utils docs", ["--name"]),
    ("typer", ["--version"], 0, "help", "(root)", ["--version"]),
    ("typer", ["host.py", "run", "--no-such"], 2, "usage_error", "run", []),
]


@pytest.mark.parametrize(("program", "words", "code", "outcome", "command", "options"), FOREIGN)
def test_programs_not_written_for_us(
    host: Host, program: str, words: list[str], code: int, outcome: str, command: str, options: list[str]
) -> None:
    """Their real command paths, option names and exit codes; nothing that was typed; output as without us."""
    (host.tmp / "work" / "host.py").write_text(
        "import typer\napp = typer.Typer()\n@app.command()\ndef go():\n    pass\n"
    )
    plain = host.start("-c", "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])", program, *words)
    out, err = plain.communicate(timeout=60)
    for left in (host.tmp / "work").glob("db"):
        left.unlink()

    ended = run(host, "--", program, *words)

    assert (plain.returncode, out, err) == (ended.status, ended.out, ended.err)
    assert code == ended.status
    span = recorded(host, program)
    assert (code, outcome) == span.ending[:2]
    assert (command, options) == (span.command, span.options)
    assert not any(b"secret" in file.read_bytes() for file in host.home.rglob("*") if file.is_file())
    assert "" == host.faults


WRAPPERS = {
    "argparse": ("import httpie.__main__ as m; run = m.main", ["--offline", "example.org"], "(root)"),
    "click": ("from sqlite_utils.cli import cli as run", ["memory", "select 1"], "memory"),
    "typer": ("from typer.cli import main as run", ["--version"], "(root)"),
}


@pytest.mark.parametrize("framework", WRAPPERS)
def test_a_wrapper_that_calls_init_and_their_entry_point(host: Host, framework: str) -> None:
    """One line before somebody else's main."""
    imports, words, command = WRAPPERS[framework]
    host.environ.update(PROG_TELEMETRY="on")
    program = f"import sys\nimport otel_usage\notel_usage.init('prog', version='1', consent='opt-out')\n{imports}\nsys.exit(run())\n"

    ended = host.run(program, *words)

    assert 0 == ended.status, ended.err
    span = recorded(host, "prog")
    assert command == span.command
    assert (0, "success" if framework != "typer" else "help") == span.ending[:2]


def test_any_other_program_is_known_by_its_exit_code(host: Host) -> None:
    """A shell: code and duration, no command, no options."""
    ended = run(host, "--app", "shell", "--", "sh", "-c", "echo out; echo err >&2; exit 3")

    assert (3, b"out\n", b"err\n") == (ended.status, ended.out, ended.err)
    span = recorded(host, "shell")
    assert (3, "failure", "_OTHER") == span.ending
    assert "(unknown)" == span.command


@pytest.mark.parametrize("name", ["TERM", "KILL", "INT", "USR1"])
def test_any_other_program_that_is_killed(host: Host, name: str) -> None:
    """The wrapper dies of the same signal, and says nothing."""
    number = signal.Signals[f"SIG{name}"]

    ended = run(host, "--app", "shell", "--", "sh", "-c", f"kill -{name} $$")

    assert (-number, b"", b"") == (ended.status, ended.out, ended.err)
    outcome = "interrupted" if name == "INT" else "failure"
    assert (128 + number, outcome, "_OTHER") == recorded(host, "shell").ending


def test_a_program_that_stops_itself(host: Host) -> None:
    """The wrapper stops as the program would have, and goes on with it."""
    running = host.start("-m", "otel_usage.cli", "run", "--app", "shell", "--", "sh", "-c", "kill -STOP $$; exit 3")

    stopped = os.waitpid(running.pid, os.WUNTRACED)[1]
    os.kill(running.pid, signal.SIGCONT)

    running.communicate(timeout=20)
    assert os.WIFSTOPPED(stopped)
    assert 3 == running.returncode
    assert (3, "failure", "_OTHER") == recorded(host, "shell").ending


def test_a_module_is_called_by_its_name(host: Host) -> None:
    """``run -- python -m module`` is a run of that module, not of python, and of the version that is installed."""
    run(host, "--", "python", "-X", "utf8", "-m", "sqlite_utils", "--version")

    span = recorded(host, "sqlite_utils")
    assert "(root)" == span.command
    assert version("sqlite-utils") == span.resource["service.version"]


@pytest.mark.parametrize(
    ("words", "app", "distribution"),
    [
        (("sqlite-utils", "--version"), "sqlite-utils", "sqlite-utils"),
        (("python", "-Bmtyper", "--version"), "typer", "typer"),
        (("sh", "-c", "true"), "sh", ""),
        (("python", "-c", "pass"), "python", ""),
    ],
)
def test_the_version_is_that_of_the_program(host: Host, words: tuple[str, ...], app: str, distribution: str) -> None:
    """Of the distribution that installed it, where that is known; else unknown, never ours or Python's."""
    run(host, "--", *words)

    wanted = version(distribution) if distribution else "unknown"
    assert wanted == recorded(host, app).resource["service.version"]


def test_signals_reach_the_program(host: Host) -> None:
    """SIGTERM to the wrapper ends the program it watches."""
    running = host.start("-m", "otel_usage.cli", "run", "--app", "shell", "--", "sh", "-c", "echo up; exec sleep 60")
    assert running.stdout is not None
    assert b"up\n" == running.stdout.readline()

    running.terminate()

    running.communicate(timeout=20)
    assert -signal.SIGTERM == running.returncode


def test_a_program_under_nohup_outlives_its_terminal(host: Host) -> None:
    """What is ignored when we start is ignored by the program too."""
    ended = run(host, "--app", "shell", "--", "sh", "-c", "kill -HUP $$; exit 3", preexec_fn=ignore_hangup)

    assert 3 == ended.status


def ignore_hangup() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def test_what_the_program_starts_is_not_recorded(host: Host) -> None:
    """The environment of its children is what it would have been."""
    code = "import os, subprocess, sys; print(sorted(os.environ)); subprocess.run([sys.executable, '-c', 'print(1)'])"
    plain = host.run("-c", code)

    ended = run(host, "--app", "py", "--", sys.executable, "-c", code)

    assert plain.out == ended.out
    assert 1 == len(list((host.home / "py" / "1" / "new").iterdir()))


def test_what_its_user_switched_off_stays_off(host: Host) -> None:
    """DO_NOT_TRACK, and the variable of the app it is recorded under."""
    host.environ["DO_NOT_TRACK"] = "1"
    run(host, "--", "sqlite-utils", "--version")
    del host.environ["DO_NOT_TRACK"]
    host.environ["SQLITE_UTILS_TELEMETRY"] = "off"
    run(host, "--", "sqlite-utils", "--version")
    host.environ["SHELL_TELEMETRY"] = "off"
    run(host, "--app", "shell", "--", "true")

    assert ["debug"] == [path.name for path in host.home.iterdir()]


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        ([], 2, "no program to run"),
        (["--", "no-such-program"], 127, "'no-such-program' is not a program on PATH"),
        (["--app", "My App", "--", "true"], 2, "app 'My App' is not a name of lower-case letters"),
        (["--to", "http://usage.example.org", "--", "true"], 2, "HTTPS"),
        (["--to", "ga5=x", "--", "true"], 2, "destination 'ga5' is not an installed exporter"),
    ],
)
def test_wrong_usage_says_what_is_wrong(host: Host, words: list[str], status: int, says: str) -> None:
    """Clear errors, before anything runs."""
    ended = run(host, *words)

    assert status == ended.status
    assert says in ended.err.decode()


# -- through the OTel API -----------------------------------------------------------------------------------------


def instrumented(host: Host, sink: Sink, *words: str, **env: str) -> Ended:
    """Run under ``opentelemetry-instrument``, with the official exporters."""
    environ = {
        "OTEL_TRACES_EXPORTER": "otlp_proto_http",
        "OTEL_METRICS_EXPORTER": "otlp_proto_http",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_EXPORTER_OTLP_ENDPOINT": sink.address,
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "click",
        **env,
    }
    process = host.start(
        "-c", "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])", "opentelemetry-instrument", *words, env=environ
    )
    out, err = process.communicate(timeout=60)
    return Ended(process.returncode, out, err)


def test_opentelemetry_instrument_records_the_same(host: Host, sink: Sink) -> None:
    """Zero code, with the program's own providers: command, options, exit code and counters; no argv."""
    ended = instrumented(
        host, sink, "sqlite-utils", "tables", "secret.db", "--counts", OTEL_SERVICE_NAME="sqlite-utils"
    )

    assert 2 == ended.status
    (span,) = until(sink.spans)
    told = span["attributes"]
    assert "sqlite-utils tables" == span["name"]
    assert (2, "usage_error", "click.exceptions.BadParameter") == (
        told["process.exit.code"], told["usage.outcome"], told["error.type"],
    )  # fmt: skip
    assert {("usage.runs", "tables usage_error"): 1} == until(sink.points)
    assert b"secret" not in b"".join(body for _p, _h, body in sink.told)
    assert not (host.home / "sqlite-utils").exists()


@pytest.mark.parametrize("switch", ["DO_NOT_TRACK", "OTEL_USAGE_DISABLED", "SQLITE_UTILS_DISABLE_ANALYTICS"])
def test_opentelemetry_instrument_heeds_the_switches(host: Host, sink: Sink, switch: str) -> None:
    """Off is off on this path too."""
    instrumented(host, sink, "sqlite-utils", "--version", OTEL_USAGE_INSTRUMENT="true", **{switch: "1"})

    assert [] == sink.spans()


def test_a_run_is_one_span(host: Host, sink: Sink) -> None:
    """Where init records, the instrumentor stays silent."""
    program = host.tmp / "work" / "host.py"
    program.write_text(
        "import argparse, otel_usage\n"
        "otel_usage.init('prog', version='1', consent='opt-out')\n"
        "argparse.ArgumentParser().parse_args()\n"
        "raise ValueError\n"
    )

    instrumented(host, sink, "python", str(program), OTEL_USAGE_INSTRUMENT="true", PROG_TELEMETRY="on")

    assert [] == sink.spans()
    assert (1, "failure", "ValueError") == recorded(host, "prog").ending


def test_a_run_is_one_span_where_init_is_off(host: Host, sink: Sink) -> None:
    """The user said no to the app's own telemetry: an operator's instrumentation is another matter, decided by its switches."""
    program = host.tmp / "work" / "host.py"
    program.write_text(
        "import argparse, otel_usage, sys\n"
        "otel_usage.init('prog', version='1', consent='opt-in')\n"
        "argparse.ArgumentParser().parse_args()\n"
        "sys.exit(4)\n"
    )

    instrumented(host, sink, "python", str(program), OTEL_SERVICE_NAME="prog", OTEL_USAGE_INSTRUMENT="true")

    (span,) = until(sink.spans)
    assert 4 == span["attributes"]["process.exit.code"]
    assert not (host.home / "prog").exists()


def test_the_instrumentor_in_code(host: Host) -> None:
    """``UsageInstrumentor().instrument(tracer_provider=…)``, with a provider made for it."""
    program = """
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from otel_usage.otel import UsageInstrumentor
import argparse
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter()))
UsageInstrumentor().instrument(tracer_provider=provider, app="prog")
parser = argparse.ArgumentParser()
parser.add_argument("--x")
parser.parse_args()
"""
    ended = host.run(program, "--x", "secret")

    assert b'"usage.outcome": "success"' in ended.out
    assert b'"--x"' in ended.out
    assert b"secret" not in ended.out
