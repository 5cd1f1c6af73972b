"""Eight destinations on loopback, each of which can fail in any way; and three ways on which one run reaches all of them.

A way is a host's sender, the relay behind it, or the server behind it. Each records a run in a child process, sends it, and
can be asked to send again what a destination did not get.
"""

from __future__ import annotations

import gzip
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from otel_usage.delivery.ledger import Ledger
from otel_usage.delivery.queue import Queue
from otel_usage.otlp import attributes_of, json_from_protobuf
from tests.exporters.named_vendors import OTHERS, VISITS
from tests.hosts import Host, until
from tests.serve.store.stores import ServeProcess
from tests.server.serving import Process
from tests.spools import Spool

OTLP_TYPE = "application/x-protobuf"
NAMES = ("otlp", "ga4", "segment", *OTHERS)
AT_MOST_ONCE = ("ga4", *VISITS)
SETTINGS: dict[str, Mapping[str, Any]] = {
    "otlp": {},
    "ga4": {"measurement_id": "G-ABC1234567", "api_secret": "s3cret"},
    "segment": {"write_key": "k3y"},
    **{name: of.settings for name, of in OTHERS.items()},
}
SHORT_S = 1.0  # how long a destination that says nothing is waited for


def runs_in(name: str, path: str, body: bytes) -> list[str]:
    """Return what identifies each run in one request to the destination *name*."""
    if name == "otlp":
        groups = json_from_protobuf("traces", body)["resourceSpans"] if path.endswith("/v1/traces") else ()
        spans = [span for group in groups for scoped in group["scopeSpans"] for span in scoped["spans"]]
        return [span["spanId"] for span in spans if attributes_of(span["attributes"])["usage.kind"] == "run"]
    content = json.loads(body)
    if name == "ga4":
        return [str(event["timestamp_micros"]) for event in content["events"] if event["name"] == "command_run"]
    if name == "segment":
        return [one["messageId"] for one in content["batch"] if one.get("event") == "Command Run"]
    return [
        OTHERS[name].id(event) for event in OTHERS[name].listed(content) if OTHERS[name].name(event) == "Command Run"
    ]


class Station:
    """One destination. fault: what it does to requests; "" takes them.

    taken: how often each run was taken. doubted: how often each was read, and not answered so that a client can know that it
    was not taken.
    """

    def __init__(self, name: str, elsewhere: str = "") -> None:
        self.name = name
        self.taken: Counter[str] = Counter()
        self.doubted: Counter[str] = Counter()
        self.asked = 0
        self.over = threading.Event()
        self._fault = ""
        station = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                plain = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
                # Of the two signals of OTLP the spans' fails: else that of the metrics would have the run wait its turn.
                fault = "" if self.path.endswith("/v1/metrics") else station.fault
                runs = runs_in(station.name, self.path.partition("?")[0], plain)
                station.asked += 1
                self.close_connection = True
                if fault in ("cut", "silent"):
                    station.doubted.update(runs)
                    if fault == "silent":
                        station.over.wait(20)
                    return
                status = int(fault or 200)
                if status >= 429:
                    station.doubted.update(runs)
                elif status == 200:
                    station.taken.update(runs)
                content = b"" if station.name == "otlp" else b"{}"
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", elsewhere)
                self.send_header("Content-Type", OTLP_TYPE if station.name == "otlp" else "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that hangs up is no news
        self.server.server_bind()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self._listen()

    @property
    def fault(self) -> str:
        """What it does to requests: "", "refused", "cut", "silent", or a status."""
        return self._fault

    @fault.setter
    def fault(self, fault: str) -> None:
        before, self._fault = self._fault, fault
        if fault == "refused":
            # The port stays ours, so that nobody else gets it; that nobody listens there makes the system refuse.
            self._end()
            port = self.server.server_address[1]
            self.server.server_close()
            self.server.socket = type(self.server.socket)(self.server.address_family, self.server.socket_type)
            self.server.server_address = ("127.0.0.1", port)
            self.server.server_bind()
        elif before == "refused":
            self._listen()

    def _listen(self) -> None:
        self.server.server_activate()
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    def _end(self) -> None:
        self.server.shutdown()
        self.thread.join()

    def close(self) -> None:
        self.over.set()
        if self.fault != "refused":
            self._end()
        self.server.server_close()


class Stations:
    """All of them, by name. elsewhere: where redirects lead, and nobody may go."""

    def __init__(self) -> None:
        self.elsewhere = Station("otlp")
        self.by_name = {name: Station(name, self.elsewhere.url + "/v1/traces") for name in NAMES}

    def settings(self, silent: str = "") -> dict[str, dict[str, Any]]:
        """Return ``destinations`` of all. silent: the name of one that is not waited for long."""
        settings = {name: {**SETTINGS[name], "endpoint": station.url} for name, station in self.by_name.items()}
        if silent:
            settings[silent]["timeout_s"] = SHORT_S
        return settings

    def environ(self, silent: str = "") -> dict[str, str]:
        """Return the same as variables."""
        variables = {
            f"OTEL_EXPORTER_{name.upper()}_{key.upper()}": str(value)
            for name, settings in self.settings(silent).items()
            for key, value in settings.items()
        }
        return {**variables, "OTEL_EXPORTER_OTLP_TIMEOUT": variables.get("OTEL_EXPORTER_OTLP_TIMEOUT_S", "10")}

    def close(self) -> None:
        for station in (*self.by_name.values(), self.elsewhere):
            station.close()


class FromSender:
    """A host, and the sender of its user: it has all destinations itself. silent: as in `Stations.settings`."""

    def __init__(self, folder: Path, stations: Stations, silent: str = "") -> None:
        self.stations = stations
        os.environ["OTEL_USAGE_HOME"] = str(folder / "state")  # the fixture `plain_environ` puts it back
        self.spool = Spool(folder / "state", self.destinations(silent))
        self.spool.settings.update(version="1.4", schema={})
        self.host = Host(folder)

    def destinations(self, silent: str) -> dict[str, Any]:
        return self.stations.settings(silent)

    def send(self) -> str:
        """Record a run in a child process, and send it; return the span's id."""
        ended = self.host.run("argparse_program.py", "report", "upload", "--format", "pdf")
        assert (0, b"", "") == (ended.status, ended.err, self.host.faults)
        span_id = self.host.the_run.ids[1]
        self.spool.drain()
        return span_id

    def wait(self, failing: str, others: Mapping[str, int]) -> None:
        """Return when each destination had its turn. others: how many runs each of them is to have by then; "": none fails."""

    def send_again(self, failing: str) -> None:
        """Send what *failing* did not get, without waiting until it is due."""
        Queue(str(self.spool.folder), self.queue(failing)).resume()
        self.spool.drain()

    def queue(self, failing: str) -> str:
        return failing

    def dropped(self, failing: str) -> Counter[str]:
        """Return how many runs were dropped on their way to *failing*, by reason."""
        return dropped_in(str(self.spool.home), failing)

    def waiting(self) -> list[str]:
        """Return the names of the files that wait to be sent."""
        return [name for name in self.spool.files() if name.endswith("traces.jsonl")]

    def close(self) -> None:
        pass


def dropped_in(folder: str, name: str) -> Counter[str]:
    """Return what the ledger of *folder* says of the runs that *name* will never get, by reason."""
    dropped: Counter[str] = Counter()
    for entry in Ledger(folder).entries():
        if (entry["destination"], entry["signal"]) == (name, "traces"):
            dropped.update(entry["dropped"])
    return dropped


class FromRelay(FromSender):
    """The sender has one destination, ``/v1/traces`` of a relay that has them all."""

    def __init__(self, folder: Path, stations: Stations, silent: str = "") -> None:
        self.relay = Process(list(NAMES), **stations.environ(silent)).start()
        super().__init__(folder, stations)

    def destinations(self, silent: str) -> dict[str, Any]:
        return {"otlp": f"http://127.0.0.1:{self.relay.port}"}

    def queue(self, failing: str) -> str:
        return "otlp"

    def dropped(self, failing: str) -> Counter[str]:
        # What the relay says to the client is what the client's ledger has.
        return dropped_in(str(self.spool.home), "otlp")

    def close(self) -> None:
        self.relay.end()


class FromServer(FromSender):
    """The sender has one destination, ``otel-usage serve``, which stores what comes and passes it on to all."""

    def __init__(self, folder: Path, stations: Stations, silent: str = "") -> None:
        self.store = folder / "store"
        to = [word for name in NAMES for word in ("--to", name)]
        self.server = ServeProcess(self.store, *to, **stations.environ(silent))
        self.server.start()
        super().__init__(folder, stations)

    def destinations(self, silent: str) -> dict[str, Any]:
        return {"otlp": self.server.url}

    def send(self) -> str:
        self.turns_before = {name: self.turns(name) for name in NAMES}
        return super().send()

    def wait(self, failing: str, others: Mapping[str, int]) -> None:
        by_name = self.stations.by_name
        until(lambda: all(by_name[name].taken.total() >= n for name, n in others.items()))
        until(lambda: not failing or self.turns(failing) > self.turns_before[failing])

    def turns(self, failing: str) -> int:
        """Return how many entries the ledger has about *failing*."""
        entries = Ledger(str(self.store) + ".queues/" + failing).entries()
        return len([entry for entry in entries if entry["signal"] == "traces"])

    def send_again(self, failing: str) -> None:
        folder = Path(str(self.store) + ".queues") / failing
        queue = Queue(str(folder), failing)

        def owed() -> bool:
            return any(folder.rglob("*traces.jsonl"))

        if owed() or queue.paused_until_s(time.time()):
            self.server.end()
            queue.resume()
            self.server.start()
            until(lambda: not owed())  # not the ledger's entry, which comes before the file goes

    def dropped(self, failing: str) -> Counter[str]:
        return dropped_in(str(self.store) + ".queues/" + failing, failing)

    def close(self) -> None:
        self.server.end()


WAYS = {"sender": FromSender, "relay": FromRelay, "serve": FromServer}
