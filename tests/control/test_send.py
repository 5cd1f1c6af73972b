"""``send``: what waits is sent now, in the foreground, and each destination says what happened. And how others say why not."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from otel_usage.control.reasons import advise, explain_reason, reason_of
from otel_usage.delivery.ledger import Ledger, Result
from otel_usage.delivery.verdict import MAYBE_SENT, NOT_SENT

from ..spools import Sink
from ..users import User, settled


@pytest.fixture
def closed() -> Iterator[str]:
    """An address at which nothing listens, for as long as the test lasts."""
    with socket.socket() as taken:  # bound, and not listening: nobody else gets the port
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def recorded(user: User, address: str) -> None:
    """Have one run recorded, which waits; its user has agreed."""
    user.choose("on")
    user.prog("report", T_SINK=address)


def test_what_waits_is_sent_at_once(user: User, sink: Sink):
    """``prog telemetry send``: 0, and how much arrived where; the run of the command itself is not recorded."""
    recorded(user, sink.address)

    ended = user.prog("telemetry", "send", T_SINK=sink.address)

    assert (0, b"") == (ended.status, ended.err)
    assert b"otlp  7 records sent" in ended.out
    assert 2 == len(sink.ids())  # the run, and that the installation is new
    assert [] == user.spans


def test_nothing_waits(user: User, sink: Sink):
    """0, and nothing is sent or stored."""
    user.choose("on")

    ended = user.prog("telemetry", "send", T_SINK=sink.address)

    assert (0, b"nothing waits to be sent\n") == (ended.status, ended.out)
    assert [] == sink.told


def test_a_destination_that_is_not_reached(user: User, closed: str):
    """1; the records wait, and the library's own words say why."""
    recorded(user, closed)

    ended = user.prog("telemetry", "send", T_SINK=closed)
    answer = json.loads(user.prog("telemetry", "send", "--json", T_SINK=closed).out)

    assert (1, b"") == (ended.status, ended.err)
    assert b"7 records not delivered, to be tried again: " in ended.out
    assert b"Connection refused" in ended.out
    assert not answer["arrived"]
    assert (0, 7) == tuple(answer["destinations"]["otlp"][key] for key in ("sent", "waiting"))


def test_a_destination_that_refuses(user: User, sink: Sink):
    """Its status is put into words, and once it takes records they are sent in spite of the pause."""
    sink.answer = lambda _n: (503, {"Retry-After": "3600"}, b"")
    recorded(user, sink.address)

    failed = user.prog("telemetry", "send", T_SINK=sink.address)
    sink.answer = lambda _n: (200, {}, b"")
    sent = user.prog("telemetry", "send", T_SINK=sink.address)

    assert 1 == failed.status
    assert b"it is out of order, or overloaded (HTTP 503)" in failed.out
    assert (0, True) == (sent.status, b"7 records sent" in sent.out)


@pytest.mark.parametrize("env", [{"PROG_TELEMETRY": "off"}, {"DO_NOT_TRACK": "1"}, {"PROG_TELEMETRY": "local"}])
def test_who_said_no_sends_nothing(user: User, sink: Sink, env):
    """1, by whose word, and no connection: not even whoever types the command overrules an off."""
    recorded(user, sink.address)

    ended = user.prog("telemetry", "send", T_SINK=sink.address, **env)

    assert (1, b"") == (ended.status, ended.out)
    assert b"nothing is sent: telemetry is " in ended.err
    assert next(iter(env)).encode() in ended.err
    assert [] == sink.told


def test_otel_usage_sends_what_it_knows_the_whole_address_of(user: User, sink: Sink):
    """From the settings that the program's last sender left."""
    recorded(user, sink.address)
    user.prog("telemetry", "send", T_SINK=sink.address)
    user.prog("report", T_SINK=sink.address)

    ended = user.ours("send", "--app", "prog")

    assert (0, b"") == (ended.status, ended.err)
    assert 4 == len(sink.ids())


def test_what_only_the_program_knows_it_has_to_send(user: User, sink: Sink):
    """A key in an address is not remembered: nothing is sent to half an address, and the command that can is named."""
    address = f"{sink.address}/k3y"
    recorded(user, address)
    user.prog("telemetry", "send", T_SINK=address)
    user.prog("report", T_SINK=address)
    before = len(sink.told)

    ended = user.ours("send", "--app", "prog")

    assert (1, before) == (ended.status, len(sink.told))
    assert b"only prog itself knows the whole address or key of otlp" in ended.err
    assert b"`prog telemetry send`" in ended.err
    assert b"k3y" not in ended.err


def test_without_a_destination(user: User):
    """1, and which variable would name one."""
    recorded(user, "")

    ended = user.prog("telemetry", "send")

    assert 1 == ended.status
    assert b"no destination is set" in ended.err


def test_a_sender_at_work_is_waited_for(user: User, sink: Sink):
    """It has the lock: ours waits until it is gone, and then sends what is left."""
    recorded(user, sink.address)
    code = "import os, sys\nfd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)\nos.lockf(fd, os.F_TLOCK, 0)\n"
    code += "print(flush=True)\ninput()\n"
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(user.spool / "lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    other.stdout.readline()
    sending = user.start("every_switch.py", "telemetry", "send", env={"T_SINK": sink.address})
    assert sending.stderr is not None
    assert b"another sender is at work: waiting for it\n" == sending.stderr.readline()
    assert [] == sink.told

    other.communicate(b"\n")
    out, err = sending.communicate()

    assert (0, b"") == (sending.returncode, err)
    assert b"7 records sent" in out


# -- why not ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", [*NOT_SENT, *MAYBE_SENT, "http_302", "http_401", "http_404", "http_418", "http_503"])
def test_every_word_of_the_list_is_explained(reason):
    """In a sentence that keeps the word, so that it can be looked up."""
    explained = explain_reason(reason)

    assert explained.endswith(f" ({reason.replace('http_', 'HTTP ')})")
    assert len(explained.split()) > 3


def test_a_word_of_a_newer_version_is_shown_as_it_is():
    """An older command may read the ledger of a newer sender."""
    assert ("sunspots", "") == (explain_reason("sunspots"), advise("sunspots"))


def test_entries_without_a_word_have_one_all_the_same():
    """Those of earlier versions: the status, or that no answer came."""
    entry = {"result": "retry", "status": 503}

    assert "http_503" == reason_of(entry)
    assert "no_answer" == reason_of({**entry, "status": None})
    assert "dns" == reason_of({**entry, "reason": "dns"})
    assert "" == reason_of({"result": "sent", "status": 200})


@pytest.mark.parametrize(
    ("reason", "status", "words"),
    [
        ("dns", None, "the name of its host is not known (dns)"),
        ("tls", None, "its certificate is not trusted (tls)"),
        ("http_401", 401, "it asks for a key (HTTP 401)"),
    ],
)
def test_history_and_status_say_why(user: User, reason, status, words):
    """The word stands in the answer's column; status has the sentence, and what to do."""
    user.choose("on")
    Ledger(str(user.folder)).append("otlp", "traces", 2, Result.RETRY, status, {}, reason=reason)

    history = user.ours("history", "--app", "prog").out.decode()
    shown = user.ours("status", "--app", "prog").out.decode()

    assert ["retry", reason] == history.splitlines()[-1].split()[-3:-1]
    assert words in shown
    assert advise(reason) in shown


def test_status_says_why_nothing_is_sent_by_itself(user: User, sink: Sink):
    """No sender is started, by the environment or for want of an interpreter: status names it, in the program too."""
    user.choose("on")
    source = "import sys, otel_usage\nsys.executable = sys.argv.pop(1)\n"
    source += (
        "otel_usage.init('prog', version='1', consent='opt-in')\nfrom otel_usage.control.commands import run_mounted\n"
    )
    source += "sys.exit(run_mounted('prog telemetry', ['status']))\n"

    none = user.ours("status", "--app", "prog")
    missing = user.run(source, "/no/python", env={"OTEL_USAGE_SENDER": None})
    fine = user.run(source, sys.executable, env={"OTEL_USAGE_SENDER": None})

    assert b"OTEL_USAGE_SENDER=none in the environment" in none.out
    assert b"the interpreter '/no/python' can't be run" in missing.out
    assert b"sender " not in fine.out
    settled(user)
