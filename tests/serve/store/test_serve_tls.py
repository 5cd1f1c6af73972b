"""`otel-usage serve` over TLS, and what it says of a server that others reach. The handshakes are the relay's: tests/server."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests

from otel_usage.serve.access import COOKIE
from tests.collector.harness import DEADLINE_S, traces
from tests.server.encrypted import Certificate, post_encrypted

from .stores import VIEWER_TOKEN, ServeProcess, count
from .test_serve_command import run


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """One for all tests of this module."""
    return Certificate(tmp_path_factory.mktemp("tls"))


def test_programs_send_and_people_look_over_tls(tmp_path: Path, certificate: Certificate) -> None:
    """Runs are stored, pages shown, numbers scraped; the session's cookie is for TLS alone; plain HTTP gets nothing."""
    (tmp_path / "viewers").write_text(VIEWER_TOKEN)
    options = [*certificate.options(), "--viewer-token-file", str(tmp_path / "viewers")]
    with ServeProcess(tmp_path / "s", *options) as server:
        address = f"https://localhost:{server.port}"
        body = traces([1, 2]).SerializeToString()
        stored = post_encrypted(server.port, certificate.client(), "/v1/traces", body, {})
        browser = requests.Session()
        browser.trust_env, browser.verify = False, certificate.cert  # whatever the environment's certificates are
        form = {"token": VIEWER_TOKEN, "next": "/live"}
        signed_in = browser.post(
            f"{address}/sign-in", form, headers={"origin": address}, allow_redirects=False, timeout=DEADLINE_S
        )
        live = browser.get(f"{address}/live", timeout=DEADLINE_S)
        scraped = browser.get(f"{address}/metrics", headers={"authorization": f"Bearer {VIEWER_TOKEN}"}, timeout=30)
        browser.cookies.clear()
        stranger = browser.get(f"{address}/live", timeout=DEADLINE_S)
        with pytest.raises(requests.ConnectionError):
            requests.get(server.url, timeout=DEADLINE_S)
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(address, timeout=DEADLINE_S)
        server.end()

    assert (200, 303, 200, 200, 401) == (
        stored, signed_in.status_code, live.status_code, scraped.status_code, stranger.status_code,
    )  # fmt: skip
    assert "secure" in signed_in.headers["set-cookie"].lower().split("; ")
    assert COOKIE in signed_in.headers["set-cookie"]
    assert "usage_runs_total" in scraped.text
    assert (2, 2) == count(tmp_path / "s")
    assert "listening beyond" not in "".join(server.log)


def test_errands_and_answers_over_tls(tmp_path: Path, certificate: Certificate) -> None:
    """`ask`, `erase` and `backup` trust what REQUESTS_CA_BUNDLE names, as every program that uses requests does."""
    with ServeProcess(tmp_path / "s", *certificate.options()) as server:
        address = f"https://localhost:{server.port}"
        trusting = run("backup", "--server", address, REQUESTS_CA_BUNDLE=certificate.cert)
        doubting = run("backup", "--server", address)

    assert (0, f"{tmp_path / 's'}.backup\n", "") == trusting
    assert (1, True) == (doubting[0], "SSLError" in doubting[2])


@pytest.mark.parametrize(
    ("tokens", "tls", "warnings"),
    [
        (False, False, ["beyond this machine without a token of clients, without TLS", "nobody may look"]),
        (True, False, ["beyond this machine without TLS", "nobody may look"]),
        (False, True, ["beyond this machine without a token of clients", "nobody may look"]),
        (True, True, ["nobody may look"]),
    ],
)
def test_a_server_that_others_reach_says_what_it_lacks(
    tmp_path: Path, certificate: Certificate, tokens: bool, tls: bool, warnings: list[str]
) -> None:
    """Each in a line of the log, before it listens (on an address for documentation, which no machine has)."""
    (tmp_path / "tokens").write_text("a-token")
    options = ["--token-file", str(tmp_path / "tokens")] if tokens else []
    options += certificate.options() if tls else []

    code, _, log = run("--store", str(tmp_path / "s"), "--listen", "192.0.2.1:4318", *options)

    assert 1 == code
    lines = [line for line in log.splitlines() if " WARNING " in line]
    assert warnings == [next((part for part in warnings if part in line), line) for line in lines]
    if tls:
        assert all("TLS" not in line for line in lines)
