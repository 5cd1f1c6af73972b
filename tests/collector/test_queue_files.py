"""The queue's files on disk: what the Collector says of damaged ones, and what "Dropping data" means when it is stopped."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.collector.gateway import CONFIG, Gateway
from tests.collector.harness import Backend, post, traces

PAGE = 4096
NOBODY = "http://127.0.0.1:9"


def fill(otelcol: str, folder: Path) -> Path:
    """Let a gateway take 300 runs that it can't deliver; return the file that holds them."""
    with Gateway(otelcol, folder, BACKEND_OTLP_ENDPOINT=NOBODY) as gateway:
        for first in (0, 100, 200):
            post(gateway.http, "/v1/traces", traces(range(first, first + 100)).SerializeToString())
        gateway.stop()
    return folder / "storage" / "exporter_otlp_http_backend_traces"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: bytes(2 * PAGE) + content[2 * PAGE :], "invalid database"),
        (lambda content: content[:PAGE], "file size too small"),
        (lambda content: content[: 2 * PAGE] + bytes(len(content) - 2 * PAGE), "panic: assertion failed: Page expected to be"),
    ],
    ids=["no header", "cut", "zeros"],
)  # fmt: skip
def test_a_damaged_file_and_its_remedy(
    otelcol: str, tmp_path: Path, damage: Callable[[bytes], bytes], message: str
) -> None:
    """It ends at each start with a message of README.md's table; with the file moved away it takes data and delivers."""
    file = fill(otelcol, tmp_path)
    file.write_bytes(damage(file.read_bytes()))
    with Backend() as backend:
        gateway = Gateway(otelcol, tmp_path, BACKEND_OTLP_ENDPOINT=f"http://127.0.0.1:{backend.port}")
        ended = [
            subprocess.run(gateway.command, env=gateway.environ, capture_output=True, text=True, timeout=20)
            for _ in range(2)
        ]
        file.rename(tmp_path / "damaged")
        with gateway:
            assert 200 == post(gateway.http, "/v1/traces", traces([1000]).SerializeToString())[0]
            backend.wait(lambda: 1000 in backend.numbers)

    assert all(each.returncode != 0 and message in each.stderr for each in ended)
    assert f"`{message}`" in (CONFIG / "README.md").read_text(encoding="utf-8")


def test_what_it_says_of_dropping_at_a_stop_is_not_so(otelcol: str, tmp_path: Path) -> None:
    """Stopped while the backend is gone it says that data is dropped, for its shutdown; after the next start all arrives."""
    with Gateway(otelcol, tmp_path, BACKEND_OTLP_ENDPOINT=NOBODY) as gateway:
        assert 200 == post(gateway.http, "/v1/traces", traces(range(50)).SerializeToString())[0]
        gateway.wait_log("Exporting failed. Will retry")
        gateway.stop()
        [line] = [line for line in gateway.log if "Exporting failed. Dropping data." in line]
    with Backend() as backend, Gateway(otelcol, tmp_path, BACKEND_OTLP_ENDPOINT=f"http://127.0.0.1:{backend.port}"):
        backend.wait(lambda: len(backend.numbers) == 50)

    assert "interrupted due to shutdown" in line
    assert "`interrupted due to shutdown`" in (CONFIG / "README.md").read_text(encoding="utf-8")
