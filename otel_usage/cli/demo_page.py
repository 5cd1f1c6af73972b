"""The end of ``otel-usage demo``: the pages of ``otel-usage serve``, of what the demo's programs just did.

A server of its own, on this machine, with a store in the demo's folder. On a terminal it goes on until Ctrl-C; elsewhere it
ends once its pages have shown every run.
"""

from __future__ import annotations

import importlib.util
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener

from ..receiver.arrival import Arrival
from .demo_report import print_paragraph

NEEDS = ("duckdb", "starlette", "uvicorn", "httptools")  # of the extra [server]
DEADLINE_S = 60.0
_RUN = re.compile(r">run<")  # one in each row of the live page
_OPENER = build_opener(ProxyHandler({}))  # this machine's own addresses, whatever the proxy


class _ServerEndedError(Exception):
    """The server is not there. The text is the last that it said."""


def show_page(arrivals: Sequence[Arrival], folder: Path, environ: Mapping[str, str], *, runs: int) -> bool:
    """Serve pages of the OTLP requests among *arrivals*, and print their address. False if not all *runs* are on them.

    folder: for the store. environ: without settings of ours that the server would take for its own.
    Without the extra ``[server]`` it prints what to install, and that is no failure.
    """
    if any(importlib.util.find_spec(name) is None for name in NEEDS):
        print_paragraph("\nTo see it on pages: pip install 'otel-usage[server]', and run the demo again.")
        return True
    port = _free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "otel_usage", "serve", "--store", str(folder / "demo.duckdb")]
    log_path = folder / "serve.log"
    with log_path.open("wb") as log:
        server = subprocess.Popen(
            [*command, "--listen", f"127.0.0.1:{port}"], env=environ, stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
    try:
        _await(lambda: _get(f"{address}/healthz") == "ok\n", server)
        for arrival in arrivals:
            if arrival.kind == "otlp":
                _post(address, arrival)
        _await(lambda: len(_RUN.findall(_get(f"{address}/live"))) >= runs, server)
        if sys.stdin.isatty() and sys.stdout.isatty():
            print_paragraph(
                f"\nOn pages: {address}/ until you press Ctrl-C, which ends the demo and removes all of it."
            )
            server.wait()
        else:
            print_paragraph(
                "\n`otel-usage serve` showed them on its pages; on a terminal the demo ends with their address."
            )
    except KeyboardInterrupt:
        pass
    except (_ServerEndedError, OSError) as exc:
        print_paragraph(f"\nThe pages did not show every run: {exc}\n{log_path.read_text(errors='replace')}")
        return False
    finally:
        server.terminate()
        server.wait()
    return True


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _get(url: str) -> str:
    try:
        with _OPENER.open(url, timeout=DEADLINE_S) as answer:
            return str(answer.read().decode())
    except URLError:  # it does not listen yet
        return ""


def _post(address: str, arrival: Arrival) -> None:
    """Send an OTLP request on. Raises OSError if it is not taken."""
    signal = "traces" if "resourceSpans" in arrival.body else "metrics"
    request = Request(  # noqa: S310  our own address
        f"{address}/v1/{signal}", json.dumps(arrival.body).encode(), {"content-type": "application/json"}
    )
    with _OPENER.open(request, timeout=DEADLINE_S):
        pass


def _await(is_so: Callable[[], bool], server: subprocess.Popen[bytes]) -> None:
    """Return when *is_so* returns True. Raises _ServerEndedError if it never can, or not until `DEADLINE_S`."""
    end = time.monotonic() + DEADLINE_S
    while not is_so():
        if server.poll() is not None:
            raise _ServerEndedError(f"the server ended with {server.returncode}")
        if time.monotonic() > end:
            raise _ServerEndedError(f"not within {DEADLINE_S:.0f} s")
        time.sleep(0.05)
