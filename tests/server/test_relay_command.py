"""``otel-usage relay`` as an operator runs it: real exporters, real signals, GA4 and Segment on this machine."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from otel_usage.server.serve import main
from tests.collector.harness import RUN, get, metrics, post, resource, traces
from tests.server.serving import Process
from tests.server.vendors import Vendors


def many(n: int) -> bytes:
    """Return a request of one run of each of *n* installations."""
    request = traces([])
    for number in range(n):
        request.MergeFrom(traces([number], installation=f"4f8b12f2-92a8-4d67-8a8a-{number:012x}"))
    return request.SerializeToString()


def test_a_run_and_a_count_reach_ga4_and_segment() -> None:
    """What comes in over OTLP is what GA4 and Segment receive, under one pseudonymous client."""
    with Vendors() as vendors, Process(["ga4", "segment"], **vendors.environ()) as relay:
        vendors.keep = True
        for name in ("ga4", "segment"):
            assert 200 == post(relay.port, f"/{name}/v1/traces", traces([1]).SerializeToString())[0]
            assert 200 == post(relay.port, f"/{name}/v1/metrics", metrics(3).SerializeToString())[0]
        assert 0 == relay.end()

    ga4 = [body for vendor, body in vendors.bodies if vendor == "ga4"]
    segment = [one for vendor, body in vendors.bodies if vendor == "segment" for one in body["batch"]]
    tracks = [one for one in segment if one["type"] == "track"]
    assert ["command_run", "events_handled"] == [event["name"] for body in ga4 for event in body["events"]]
    assert "report upload" == ga4[0]["events"][0]["params"]["command"]
    assert 3 == ga4[1]["events"][0]["params"]["count"]
    assert 1 == len({body["client_id"] for body in ga4})
    assert ["Command Run", "Events Handled"] == [one["event"] for one in tracks]
    assert {resource()["app.installation.id"]} == {one["anonymousId"] for one in tracks}


def test_many_clients_at_once_reach_ga4() -> None:
    """A batch of many installations is a request each for GA4, sent side by side; none is lost or repeated."""
    with Vendors() as vendors, Process(["ga4"], **vendors.environ()) as relay:
        status, _, _ = post(relay.port, "/ga4/v1/traces", many(200))

        text = get(relay.port, "/metrics")[1]
    assert (200, 200) == (status, vendors.requests["ga4"])
    assert 'otel_usage_relay_sent_total{destination="ga4",signal="traces"} 200' in text


def test_segment_down_is_told_and_recovers() -> None:
    """While Segment fails, clients hear 503; when it is back, a repetition delivers everything once."""
    down = threading.Event()
    down.set()
    with (
        Vendors(lambda vendor, body: 503 if down.is_set() else 200) as vendors,
        Process(["segment"], **vendors.environ()) as relay,
    ):
        body = many(5)
        first = post(relay.port, "/segment/v1/traces", body)
        down.clear()
        second = post(relay.port, "/segment/v1/traces", body)
        third = post(relay.port, "/segment/v1/traces", body)

    assert [503, 200, 200] == [first[0], second[0], third[0]]
    assert int(first[1]["retry-after"]) >= 1
    assert (5, 0) == (vendors.counts()["segment"], vendors.counts()["segment_repeated"])


def test_ga4_gets_nothing_twice_when_an_answer_is_lost() -> None:
    """A GA4 request whose answer is lost is never sent again: what became of it can't be known, and is counted."""
    answers = iter([0] + [200] * 99)
    with (
        Vendors(lambda vendor, body: next(answers), lose=True) as vendors,
        Process(["ga4"], **vendors.environ()) as relay,
    ):
        body = traces([1, 2]).SerializeToString()
        tried = [post(relay.port, "/ga4/v1/traces", body)[0] for _ in range(3)]

        text = get(relay.port, "/metrics")[1]
    assert [200, 200, 200] == tried
    assert 1 == vendors.requests["ga4"]
    assert 'reason="unknown_delivery"} 2' in text


def test_ga4_gets_nothing_twice_when_the_relay_is_killed(tmp_path: Path) -> None:
    """With --state, neither an orderly restart nor SIGKILL within a delivery makes an event come twice."""
    reached, released = threading.Event(), threading.Event()
    slow = threading.Event()

    def answer(vendor: str, body: object) -> int:
        if slow.is_set():
            reached.set()
            assert released.wait(30)
        return 200

    with (
        Vendors(answer) as vendors,
        Process(["ga4"], "--state", str(tmp_path / "state"), **vendors.environ()) as relay,
    ):
        first, second = traces([1], began_ns=time.time_ns()), traces([2], began_ns=time.time_ns())
        path = "/ga4/v1/traces"
        assert 200 == post(relay.port, path, first.SerializeToString())[0]
        relay.end()
        relay.start()
        assert 200 == post(relay.port, path, first.SerializeToString())[0]
        slow.set()
        failed: list[type] = []

        def lose() -> None:
            try:
                post(relay.port, path, second.SerializeToString())
            except (OSError, http.client.HTTPException) as exc:
                failed.append(type(exc))

        thread = threading.Thread(target=lose)
        thread.start()
        assert reached.wait(30)
        relay.end(signal.SIGKILL)
        released.set()
        thread.join(30)
        relay.start()
        assert 200 == post(relay.port, path, second.SerializeToString())[0]

    assert (1, 2, 0) == (len(failed), vendors.counts()["ga4"], vendors.counts()["ga4_repeated"])


def test_two_relays_cant_share_a_state(tmp_path: Path) -> None:
    """A second relay with the same folder ends at once, and says what to do."""
    with Vendors() as vendors, Process(["ga4"], "--state", str(tmp_path), **vendors.environ()):
        second = Process(["ga4"], "--state", str(tmp_path), **vendors.environ())
        with pytest.raises(AssertionError, match="is held by another relay: give each a --state of its own"):
            second.start()
        assert second.process is not None
        assert 2 == second.process.wait(30)
        assert second.process.stderr is not None
        second.process.stderr.close()


def test_sigterm_finishes_what_was_taken() -> None:
    """Told to stop in the middle of a delivery, the relay answers it, and exits with 0."""
    reached, released = threading.Event(), threading.Event()

    def slow(vendor: str, body: object) -> int:
        reached.set()
        assert released.wait(30)
        return 200

    with Vendors(slow) as vendors, Process(["segment"], **vendors.environ()) as relay:
        answers: list[int] = []
        body = traces([1]).SerializeToString()
        thread = threading.Thread(target=lambda: answers.append(post(relay.port, "/segment/v1/traces", body)[0]))
        thread.start()
        assert reached.wait(30)
        assert relay.process is not None
        relay.process.send_signal(signal.SIGTERM)
        released.set()
        thread.join(30)
        code = relay.process.wait(30)

    assert ([200], 0) == (answers, code)
    assert "stopped" in relay.log[-1]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_stops_the_relay_at_once(how: signal.Signals) -> None:
    """The second signal has what is under way answered with 503, and ends the relay after the vendor's answer."""
    reached = threading.Event()

    def slow(vendor: str, body: object) -> int:
        reached.set()
        time.sleep(1)
        return 200

    with Vendors(slow) as vendors, Process(["ga4"], **vendors.environ()) as relay:
        answers: list[tuple[int, str | None]] = []

        def go() -> None:
            status, headers, _ = post(relay.port, "/ga4/v1/traces", traces(range(100)).SerializeToString())
            answers.append((status, headers.get("retry-after")))

        thread = threading.Thread(target=go)
        thread.start()
        assert reached.wait(30)
        assert relay.process is not None
        relay.process.send_signal(how)
        time.sleep(0.3)  # the first has to have come: two at once are one
        relay.process.send_signal(how)
        thread.join(30)
        code = relay.process.wait(30)
        relay._reader.join(30)

    assert ([(503, "1")], 0) == (answers, code)
    assert vendors.requests["ga4"] < 4
    assert "Traceback" not in "".join(relay.log)
    assert "stopped" in relay.log[-1]


def test_sigterm_waits_no_longer_than_the_deadline() -> None:
    """A destination that takes too long does not keep the relay: no request is begun after the deadline."""

    def slow(vendor: str, body: object) -> int:
        time.sleep(0.4)
        return 200

    with Vendors(slow) as vendors, Process(["ga4"], "--deadline-s", "1", **vendors.environ()) as relay:
        answers: list[int] = []
        body = traces(range(1_000)).SerializeToString()
        thread = threading.Thread(target=lambda: answers.append(post(relay.port, "/ga4/v1/traces", body)[0]))
        thread.start()
        vendors.wait(lambda: vendors.requests)
        began = time.monotonic()
        code = relay.end()
        took_s = time.monotonic() - began
        thread.join(30)

    assert ([503], 0) == (answers, code)
    assert took_s < 5  # 40 requests take 16 s
    assert vendors.requests["ga4"] < 10


def test_no_key_is_in_the_log_or_the_metrics() -> None:
    """Whatever goes wrong, keys and what was sent stay out of what an operator might share."""
    with Vendors(lambda vendor, body: 500) as vendors, Process(["ga4", "segment"], **vendors.environ()) as relay:
        for name in ("ga4", "segment"):
            post(relay.port, f"/{name}/v1/traces", traces([1]).SerializeToString())
        shown = get(relay.port, "/metrics")[1] + "".join(relay.log)
        relay.end()
        shown += "".join(relay.log)

    secrets = ("s3cret", "wr1tekey", "report upload", str(resource()["app.installation.id"]), str(RUN["usage.command"]))
    assert [] == [word for word in secrets if word in shown]


def test_tls_is_spoken(tmp_path: Path) -> None:
    """With a certificate the relay speaks TLS; with a token as well it does not warn about listening to others."""
    import requests

    cert, key, token = tmp_path / "tls.crt", tmp_path / "tls.key", tmp_path / "token"
    token.write_text("t0ken\n")
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    subprocess.run([*made, "-keyout", key, "-out", cert, *subject], check=True, capture_output=True)
    options = ["--tls-cert", str(cert), "--tls-key", str(key), "--token-file", str(token)]
    with Vendors() as vendors, Process(["segment"], *options, **vendors.environ()) as relay:
        answer = requests.post(
            f"https://127.0.0.1:{relay.port}/segment/v1/traces",
            traces([1]).SerializeToString(),
            headers={"content-type": "application/x-protobuf", "authorization": "Bearer t0ken"},
            verify=str(cert),
            timeout=10,
        )

        assert (200, 1) == (answer.status_code, vendors.counts()["segment"])


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["nowhere"], "destination 'nowhere' is not an installed exporter; found: "),
        (["ga4"], "ga4: OTEL_EXPORTER_GA4_MEASUREMENT_ID"),
        (["segment", "--listen", "4319"], "--listen '4319' is not HOST:PORT"),
        ([""], "no destination is named"),
        (["ga4", "segment,ga4"], "destination 'ga4' is named twice"),
        (["segment", "--waiting", "0"], "--waiting 0 is not a number above 0"),
        (["segment", "--body-mib", "nan"], "--body-mib nan is not a number above 0"),
        (["segment", "--decoded-mib", "inf"], "--decoded-mib inf is not a number above 0"),
        (["segment", "--deadline-s", "nan"], "--deadline-s nan is not a number above 0"),
        (["segment", "--deadline-s", "1e9"], "--deadline-s 1e+09 is more than 3600"),
        (["segment", "--tls-cert", "x"], "--tls-cert and --tls-key go together"),
        (["segment", "--token-file", "/nonexistent"], "--token-file '/nonexistent' can't be read"),
        (["segment", "--token-file", os.devnull], "--token-file '/dev/null' is empty"),
        (
            ["segment", "--tls-cert", __file__, "--tls-key", "/nonexistent"],
            "--tls-key '/nonexistent' can't be read: No",
        ),
        (
            ["segment", "--tls-cert", "/nonexistent", "--tls-key", __file__],
            "--tls-cert '/nonexistent' can't be read: No",
        ),
        (["segment", "--tls-cert", __file__, "--tls-key", __file__], f"--tls-cert {__file__!r} and --tls-key"),
        (["segment", "--schema", "mycli"], "--schema 'mycli' is not APP=FILE"),
        (["segment", "--schema", "mycli=/nonexistent"], "--schema mycli: '/nonexistent' can't be read: No such file"),
        (
            ["segment", "--schema", f"mycli={__file__}"],
            f"--schema mycli: {__file__!r} does not hold a Python literal: ",
        ),
    ],
)
def test_a_wrong_setting_is_one_line(
    argv: list[str], expected: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is wrong is said in one line, with what is expected, and exit code 2."""
    for name in list(os.environ):
        if name.startswith(("OTEL_", "OTEL_USAGE_")):
            monkeypatch.delenv(name)

    code = main(argv)

    said = capsys.readouterr().err
    assert 2 == code
    assert said.startswith("otel-usage relay: " + expected)
    assert 1 == said.count("\n")


@pytest.mark.parametrize("kind", [("bucket",), ("integer",), ("bucket", "MB")])
def test_a_schema_that_is_wrong_is_one_line(kind: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A type in a schema file that says too little is told like any other mistake in it."""
    file = tmp_path / "mycli.schema"
    file.write_text(repr({"report.upload": {"why": "?", "fields": {"size": kind}}}))

    code = main(["segment", "--schema", f"mycli={file}"])

    said = capsys.readouterr().err
    assert (2, 1) == (code, said.count("\n"))
    assert f"--schema mycli: {str(file)!r}: schema: 'report.upload': type of 'size'" in said


def test_an_encrypted_tls_key_is_refused_without_asking_for_its_passphrase(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody is asked for a passphrase at a terminal that may not be there."""
    cert, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-days", "2"]
    subject = ["-subj", "/CN=localhost", "-passout", "pass:secret"]
    subprocess.run([*made, "-keyout", key, "-out", cert, *subject], check=True, capture_output=True)

    code = main(["segment", "--tls-cert", str(cert), "--tls-key", str(key)])

    assert 2 == code
    assert f"otel-usage relay: --tls-key {str(key)!r} is encrypted: " in capsys.readouterr().err


def test_a_state_that_cant_be_read_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the window's file is none, one line says so."""
    (tmp_path / "ga4.window").mkdir()
    for name, value in Vendors().environ().items():
        monkeypatch.setenv(name, value)

    code = main(["ga4", "--state", str(tmp_path)])

    said = capsys.readouterr().err
    assert (2, 1) == (code, said.count("\n"))
    assert f"{str(tmp_path / 'ga4.window')!r} can't be read: Is a directory" in said


def test_a_schema_file_is_used(tmp_path: Path) -> None:
    """``--schema APP=FILE`` rejects what the app does not declare."""
    file = tmp_path / "mycli.schema"
    file.write_text("{'report.upload': {'why': '?', 'fields': {'pages': ('bucket', 'pages', 1, 10), 'ok': 'bool'}}}")
    action = {"usage.kind": "action", "usage.action": "report.upload", "usage.field.ok": True}
    with Vendors() as vendors, Process(["segment"], "--schema", f"mycli={file}", **vendors.environ()) as relay:
        for number, pages in enumerate(["1-10 pages", ">=10 pages", "some pages"]):
            request = traces([number], attributes={**action, "usage.field.pages": pages}, name="report.upload")
            assert 200 == post(relay.port, "/segment/v1/traces", request.SerializeToString())[0]

        assert 2 == vendors.counts()["segment"]


def test_the_help_names_every_option_in_the_docs() -> None:
    """docs/relay.md and ``--help`` tell of the same options."""
    from otel_usage.server.serve import build_parser

    text = (Path(__file__).parents[2] / "docs" / "relay.md").read_text()

    told = set(re.findall(r"`(--[a-z-]+)", text))
    has = {option for action in build_parser()._actions for option in action.option_strings if option.startswith("--")}
    assert has - {"--help"} == told
