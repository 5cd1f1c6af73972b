"""``otel-usage doctor -- mycli …``: one line per check, and nothing that counts as an event leaves the machine."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from otel_usage.control.console import columns_of
from otel_usage.receiver.arrival import Arrival
from otel_usage.receiver.server import Listener

from ..hosts import PROGRAMS, Ended
from ..spools import Sink
from ..users import User

PROGRAM = (sys.executable, str(PROGRAMS / "every_switch.py"), "report")


def examined(user: User, *command: str, **env: str | None) -> tuple[Ended, dict[str, dict[str, Any]]]:
    """Run the doctor; return what the parent sees, and the checks by their names."""
    ended = user.ours("doctor", "--json", "--", *(command or PROGRAM), **env)
    assert b"" == ended.err, ended.err
    return ended, {check["name"]: check for check in json.loads(ended.out)["checks"]}


def bad(checks: dict[str, dict[str, Any]]) -> list[str]:
    return [name for name, check in checks.items() if check["ok"] is False]


def test_all_is_well(user: User, sink: Sink):
    """0, and every check is ok; the destination got one request, without a record, and nothing is left."""
    ended, checks = examined(user, T_SINK=sink.address, PROG_TELEMETRY="on")

    assert (0, []) == (ended.status, bad(checks))
    assert [
        "program", "settings", "consent", "spool", "recording", "sender", "arrival",
        "otlp: name", "otlp: connection", "otlp: answer",
    ] == list(checks)  # fmt: skip
    assert [("/v1/traces", b"")] == [(path, body) for path, _, body in sink.told]
    assert [] == user.kept


def test_each_check_is_one_line(user: User, sink: Sink):
    """ok or not ok, what was seen, what was expected, what to do; 1 if one is not ok."""
    ended = user.ours("doctor", "--", *PROGRAM, T_SINK=sink.address, DO_NOT_TRACK="1")

    lines = ended.out.decode().splitlines()
    assert 1 == ended.status
    (line,) = [line for line in lines if line.startswith("  not ok")]
    assert "consent: off" in line
    assert "DO_NOT_TRACK=1 in the environment; expected: on. To do: take that away" in line
    assert all(line.split()[0] in ("ok", "not", "-") for line in lines)


@pytest.mark.parametrize("width", [50, 30])
def test_the_checks_fit_a_narrow_terminal(user: User, width):
    """No line is broken within a word, and colours are no columns."""
    env = {"COLUMNS": str(width), "TERM": "xterm", "DO_NOT_TRACK": "1", "T_SINK": "https://usage.example.org"}
    shown = user.on_terminal("otel_usage.cli", "doctor", "--", *PROGRAM, program="-m", **env).out.decode()

    assert "not ok" in shown
    assert [] == [line for line in shown.splitlines() if columns_of(line) > width and len(line.split()) > 1]


@pytest.mark.parametrize("env", [{"DO_NOT_TRACK": "1"}, {"PROG_TELEMETRY": "local"}, {}])
def test_nobody_is_called_where_somebody_said_no(user: User, sink: Sink, env):
    """By a variable or by the stored choice: the run is tried on this machine alone."""
    if not env:
        user.choose("off")

    ended, checks = examined(user, T_SINK=sink.address, **env)

    assert (1, []) == (ended.status, sink.told)
    assert checks["otlp"]["ok"] is None
    assert checks["arrival"]["ok"]


@pytest.mark.parametrize(
    ("status", "ok", "words"),
    [
        (200, True, "HTTP 200"),
        (400, True, "it answers"),
        (401, False, "it asks for a key (HTTP 401)"),
        (404, False, "nothing takes records at its address (HTTP 404)"),
        (503, False, "it is out of order, or overloaded (HTTP 503)"),
    ],
)
def test_answers(user: User, sink: Sink, status, ok, words):
    """What the destination says is put into words."""
    sink.answer = lambda _n: (status, {}, b"")

    _, checks = examined(user, T_SINK=sink.address, PROG_TELEMETRY="on")

    assert ok == checks["otlp: answer"]["ok"]
    assert words in checks["otlp: answer"]["seen"]


def test_a_destination_where_nothing_listens(user: User):
    """The first layer that fails is named, in the system's own words; those behind it are not asked."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        _, checks = examined(user, T_SINK=f"http://127.0.0.1:{taken.getsockname()[1]}", PROG_TELEMETRY="on")

    assert ["otlp: connection"] == bad(checks)
    assert "Connection refused" in checks["otlp: connection"]["seen"]
    assert "otlp: answer" not in checks


def test_a_name_that_nobody_knows(user: User):
    """No network is needed for that: the name is one that never resolves."""
    _, checks = examined(
        user, T_SINK="https://no-such.invalid", PROG_TELEMETRY="on", HTTPS_PROXY=None, https_proxy=None
    )

    assert ["otlp: name"] == bad(checks)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for localhost, signed by itself, with its key in the same file."""
    path = tmp_path / "localhost.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(path), "-out", str(tmp_path / "cert.pem")]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no openssl")
    path.write_text(path.read_text() + (tmp_path / "cert.pem").read_text())
    return path


def test_a_certificate_that_is_not_trusted(user: User, sink: Sink, certificate: Path):
    """In TLS's own words; named as the one to trust, it is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    sink.server.socket = context.wrap_socket(sink.server.socket, server_side=True)
    address = sink.address.replace("http://127.0.0.1", "https://localhost")

    _, strange = examined(user, T_SINK=address, PROG_TELEMETRY="on")
    _, trusted = examined(user, T_SINK=address, PROG_TELEMETRY="on", REQUESTS_CA_BUNDLE=str(certificate))

    assert ["otlp: certificate"] == bad(strange)
    assert "self-signed certificate" in strange["otlp: certificate"]["seen"].replace("self signed", "self-signed")
    assert [] == bad(trusted)


def vendor_program(user: User, destinations: str) -> tuple[str, str]:
    """Return the command line of a program with these destinations, as source code."""
    file = user.tmp / "work" / "vendor.py"
    file.write_text(
        f"import otel_usage\notel_usage.init('prog', version='1', consent='opt-out', destinations={destinations})\n"
    )
    return sys.executable, str(file)


def test_vendors_are_asked_only_what_does_not_count(user: User):
    """GA4 validates a sample, and records nothing; Segment can't, and is reached, but not asked. No key is printed."""
    arrivals: list[Arrival] = []
    server = Listener(0, arrivals.append)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    ga4 = {"measurement_id": "G-AB12CD34EF", "api_secret": "s3cret", "endpoint": server.address}
    segment = {"write_key": "k3y", "endpoint": server.address}
    try:
        command = vendor_program(user, repr({"ga4": ga4, "segment": segment}))
        ended, checks = examined(user, *command, PROG_TELEMETRY="on")
    finally:
        server.shutdown()
        server.server_close()

    assert (0, []) == (ended.status, bad(checks))
    assert "a sample to be validated" in checks["ga4: answer"]["seen"]
    assert checks["segment: answer"]["ok"] is None
    assert ["ga4"] == [arrival.kind for arrival in arrivals]
    assert b"s3cret" not in ended.out
    assert b"k3y" not in ended.out


def test_what_a_sender_can_not_import_is_named(user: User, sink: Sink):
    """The program's interpreter lacks what a sender needs: records would wait for ever, in silence."""
    (user.tmp / "broken").mkdir()
    (user.tmp / "broken" / "opentelemetry.py").write_text("raise ImportError('no module of that name here')\n")
    source = f"import sys\nsys.path.insert(1, {str(user.tmp / 'broken')!r})\nimport otel_usage\n"
    source += f"otel_usage.init('prog', version='1', consent='opt-in', destinations={{'otlp': {sink.address!r}}})\n"
    (user.tmp / "work" / "lacking.py").write_text(source)

    _, checks = examined(user, sys.executable, str(user.tmp / "work" / "lacking.py"), PROG_TELEMETRY="on")

    assert ["sender"] == bad(checks)
    assert "no module of that name here" in checks["sender"]["seen"]


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("import sys; sys.exit('no such report')", "program"),
        ("import otel_usage; otel_usage.init('prog', version='1', consent='optout')", "settings"),
        ("import otel_usage; otel_usage.init('prog', version='1', consent='opt-in', about=object())", "settings"),
        ("import otel_usage; otel_usage.init('prog', version='1', consent='opt-in', destinations={'ga5': 'x'})", "ga5"),
        ("import otel_usage; otel_usage.init('prog', version='1', consent='opt-in')", "destinations"),
    ],
)
def test_what_is_wrong_with_a_program(user: User, source, name):
    """It does not call us, gives what no sender takes, or names nobody to send to: the check says which."""
    file = user.tmp / "work" / "wrong.py"
    file.write_text(source + "\n")

    ended, checks = examined(user, sys.executable, str(file), PROG_TELEMETRY="on")

    assert (1, [name]) == (ended.status, bad(checks))


def test_a_folder_that_others_can_look_into(user: User, sink: Sink):
    """It is named, with the command that closes it."""
    user.choose("on")
    user.folder.chmod(0o755)

    _, checks = examined(user, T_SINK=sink.address)

    assert ["spool"] == bad(checks)
    assert checks["spool"]["advice"].startswith("chmod go= ")


@pytest.mark.parametrize("words", [(), ("--",), ("--", "no-such-program"), ("--", "/bin/ls")])
def test_what_is_no_python_program_is_wrong_usage(user: User, words):
    """2, and what to write."""
    ended = user.ours("doctor", *words)

    assert (2, b"") == (ended.status, ended.out)
    assert 1 == ended.err.count(b"\n")
