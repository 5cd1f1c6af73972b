"""The gateway and the fan-out under faults: what they acknowledged is delivered, whatever happens."""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Callable
from pathlib import Path

from tests.collector.gateway import Gateway
from tests.collector.harness import Backend, get, metrics, number_of, post, spans_of, traces


class Load:
    """Sends numbered runs from threads of its own, as fast as they are taken, and knows which were acknowledged."""

    def __init__(self, port: int, threads: int = 4, batch: int = 10) -> None:
        self.port = port
        self.batch = batch
        self.acknowledged: set[int] = set()
        self.refused = 0
        self.changed = threading.Condition()
        self._counter = itertools.count()
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._send, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def _send(self) -> None:
        while not self._stopped.is_set():
            with self.changed:
                numbers = list(itertools.islice(self._counter, self.batch))
            try:
                status, _, _ = post(self.port, "/v1/traces", traces(numbers).SerializeToString())
            except OSError:
                status = 0
            with self.changed:
                if status == 200:
                    self.acknowledged.update(numbers)
                else:
                    self.refused += 1
                self.changed.notify_all()
            if not status:
                self._stopped.wait(0.005)  # nobody listens: spare the CPU for who is to start

    def wait(self, condition: Callable[[], object]) -> None:
        """Return when *condition* holds, looked at after every request."""
        with self.changed:
            assert self.changed.wait_for(condition, 30), f"{len(self.acknowledged)} taken, {self.refused} refused"

    def stop(self) -> None:
        """Stop sending."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(30)


def test_what_was_acknowledged_survives_kills(otelcol: str, tmp_path: Path) -> None:
    """Killed with SIGKILL under load, three times: every span it acknowledged reaches the backend."""
    with Backend() as backend:
        gateway = Gateway(otelcol, tmp_path, BACKEND_OTLP_ENDPOINT=f"http://127.0.0.1:{backend.port}")
        with gateway:
            load = Load(gateway.http)
            for _ in range(3):
                so_far = len(load.acknowledged)
                load.wait(lambda: len(load.acknowledged) >= so_far + 500)  # noqa: B023  called before the next turn
                gateway.kill()
                gateway.start()
            load.stop()

            backend.wait(lambda: load.acknowledged <= set(backend.numbers), "acknowledged spans are missing")


def test_an_outage_longer_than_memory_lasts_loses_nothing(otelcol: str, tmp_path: Path) -> None:
    """With the backend gone, more is taken than the memory limit could hold; all of it is delivered later."""
    backend = Backend()
    limits = {"GATEWAY_MEMORY_MIB": "64", "GATEWAY_MEMORY_SPIKE_MIB": "12", "GOMEMLIMIT": "52MiB"}
    with Gateway(otelcol, tmp_path, BACKEND_OTLP_ENDPOINT=f"http://127.0.0.1:{backend.port}", **limits) as gateway:
        large = {"usage.kind": "action", "usage.action": "a", **{f"usage.field.f{n}": "x" * 64 for n in range(20)}}
        sent, size = 0, 0
        while size < 72 << 20:
            body = traces(range(sent, sent + 500), attributes=large).SerializeToString()
            if post(gateway.http, "/v1/traces", body)[0] == 200:
                sent, size = sent + 500, size + len(body)
        stored = sum(file.stat().st_size for file in (tmp_path / "storage").iterdir())

        with backend:
            backend.wait(lambda: len(backend.numbers) == sent, "not all arrived", 60)

        assert stored > 64 << 20


def test_a_full_queue_is_told_to_the_client(otelcol: str, tmp_path: Path) -> None:
    """When the disk's share is used up the client hears a status that means: keep it, and try again."""
    settings = {"GATEWAY_QUEUE_BYTES": "300000", "BACKEND_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    with Gateway(otelcol, tmp_path, **settings) as gateway:
        body = traces(range(100)).SerializeToString()
        answers = [post(gateway.http, "/v1/traces", body)[0] for _ in range(20)]

    assert answers[0] == 200
    assert {200, 503} == set(answers)


def test_one_full_queue_repeats_for_the_others(otelcol: str, tmp_path: Path) -> None:
    """While one destination's queue is full clients hear 503, and the others get a copy of every attempt, ids and all.

    Taken out of FAN_OUT_TO it holds up nobody; put back, it has what it was owed.
    """
    with Backend() as backend, Backend(answer=lambda path, body: 503) as relay:
        environ = {
            "BACKEND_OTLP_ENDPOINT": f"http://127.0.0.1:{backend.port}",
            "RELAY_ENDPOINT": f"http://127.0.0.1:{relay.port}",
            "FAN_OUT_TO": "[otlp_http/backend, otlp_http/segment]",
            "GATEWAY_QUEUE_BYTES": "300000",
        }
        files = ("gateway.yaml", "fan-out.yaml")
        with Gateway(otelcol, tmp_path, files, **environ) as gateway:
            full = traces(range(100)).SerializeToString()
            sent, status = 0, 200
            while status == 200:
                sent, status = sent + 1, post(gateway.http, "/v1/traces", full)[0]
                backend.wait(lambda: backend.numbers.get(99) == sent)  # noqa: B023  called before the next turn
            again = traces([1_000] * 110).SerializeToString()
            answers = {post(gateway.http, "/v1/traces", again)[0] for _ in range(3)}
            backend.wait(lambda: backend.numbers.get(1_000) == 330)
            gateway.stop()
            gateway.environ["FAN_OUT_TO"] = "[otlp_http/backend]"
            gateway.start()
            without = post(gateway.http, "/v1/traces", full)[0]
            gateway.stop()
            gateway.environ["FAN_OUT_TO"] = environ["FAN_OUT_TO"]
            relay.answer = lambda path, body: 200
            gateway.start()
            relay.wait(lambda: 99 in relay.numbers)

    assert ({503}, 200) == (answers, without)
    assert 1_000 not in relay.numbers


def test_which_answers_are_tried_again(otelcol: str, tmp_path: Path) -> None:
    """Four statuses are, and all others drop what was acknowledged, as README.md says; each is counted."""
    text = (Path(__file__).parents[2] / "collector-config" / "README.md").read_text()
    told = text.partition("**What a destination answers decides.**")[2].partition("\n\n")[0]
    codes = [int(code) for code in re.findall(r"\b[345]\d\d\b", told)]
    came: set[int] = set()

    def answer(path: str, body: bytes) -> int:
        [(_, span)] = spans_of(body)
        first = number_of(span) not in came
        came.add(number_of(span))
        return codes[number_of(span)] if first else 200

    with Backend(answer=answer) as backend:
        where = f"http://127.0.0.1:{backend.port}"
        with Gateway(otelcol, tmp_path, BACKEND_OTLP_ENDPOINT=where) as gateway:
            for n in range(len(codes)):
                assert 200 == post(gateway.http, "/v1/traces", traces([n]).SerializeToString())[0]
                backend.wait(lambda: n in came)  # noqa: B023  called before the next turn
            again = {n for n, code in enumerate(codes) if code in (429, 502, 503, 504)}
            backend.wait(lambda: again <= set(backend.numbers))
            gateway.wait_counters({"otelcol_exporter_send_failed_spans"})
            failed = [n for name, n in gateway.counters().items() if "send_failed_spans" in name]

    assert {429, 502, 503, 504} == {codes[n] for n in backend.numbers}
    assert sum(failed) == len(codes) - len(again) >= 6


def test_no_destination_delays_another(otelcol: str, tmp_path: Path) -> None:
    """With GA4 refusing and Segment silent, the backend has everything at once; they have it when they are back."""
    with Backend() as backend, Backend() as relay:
        silent = threading.Event()
        up = threading.Event()

        def answer(path: str, body: bytes) -> int:
            if path.startswith("/segment") and not up.is_set():
                silent.wait(30)
            return 200 if up.is_set() else 503

        relay.answer = answer
        environ = {
            "BACKEND_OTLP_ENDPOINT": f"http://127.0.0.1:{backend.port}",
            "RELAY_ENDPOINT": f"http://127.0.0.1:{relay.port}",
        }
        with Gateway(otelcol, tmp_path, ("gateway.yaml", "fan-out.yaml"), **environ) as gateway:
            relay.decode = False
            for n in range(20):
                assert 200 == post(gateway.http, "/v1/traces", traces([n]).SerializeToString())[0]
            assert 200 == post(gateway.http, "/v1/metrics", metrics(3).SerializeToString())[0]

            backend.wait(lambda: len(backend.numbers) == 20 and backend.points, deadline_s=5)
            assert [] == relay.taken
            up.set()
            silent.set()

            wanted = {f"/{where}/v1/{what}" for where in ("ga4", "segment") for what in ("traces", "metrics")}
            relay.wait(lambda: {path for path, _ in relay.taken} == wanted)


def test_its_own_metrics_tell_of_queues_and_refusals(otelcol: str, tmp_path: Path) -> None:
    """What README.md says to watch is there to be watched."""
    text = (Path(__file__).parents[2] / "collector-config" / "README.md").read_text()
    named = set(re.findall(r"otelcol_\w+", text.partition("## What to watch")[2]))
    body, counted = traces(range(100)).SerializeToString(), metrics(1).SerializeToString()
    came: set[str] = set()

    def answer(path: str, body: bytes) -> int:
        status = 503 if path in came else 400
        came.add(path)
        return status

    with Backend(answer=answer) as backend:
        settings = {"GATEWAY_QUEUE_BYTES": "300000", "BACKEND_OTLP_ENDPOINT": f"http://127.0.0.1:{backend.port}"}
        with Gateway(otelcol, tmp_path, **settings) as gateway:
            post(gateway.http, "/v1/traces", body)
            post(gateway.http, "/v1/metrics", counted)
            backend.wait(lambda: len(came) == 2)
            for _ in range(20):
                post(gateway.http, "/v1/traces", body)
            backend.wait(lambda: backend.requests > 2)
            gateway.wait_counters(named)
            shown = get(gateway.metrics, "/metrics")[1]

    assert named
    assert set() == {name for name in named if name not in shown}
