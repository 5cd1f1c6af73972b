"""The cluster's id: asked of the API server on request only, with the pod's own token; whatever fails, there is none."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from otel_usage.delivery import cluster_identity
from otel_usage.delivery.cluster_identity import find_cluster

from ..server.encrypted import Certificate
from ..spools import Sink, Spool
from .test_service_identity import beat

UID = "8d9c2e54-6f3f-4a57-b1a5-6a1f1d2c3b4a"
TOKEN = "eyJhbGciOiJSUzI1NiJ9.e30.c2lnbmF0dXJl"


class ApiServer:
    """As much of Kubernetes' as a pod sees that may get kube-system, over TLS by an authority of its own."""

    def __init__(self, folder: Path) -> None:
        self.certificate = Certificate(folder)
        self.asked: list[tuple[str, str, str]] = []
        self.answer: tuple[int, bytes] = (
            200,
            b'{"kind":"Namespace","metadata":{"name":"kube-system","uid":"%s"}}' % UID.encode(),
        )
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                api.asked.append((self.command, self.path, self.headers["Authorization"]))
                allowed = (
                    self.path == "/api/v1/namespaces/kube-system" and self.headers["Authorization"] == f"Bearer {TOKEN}"
                )
                status, body = api.answer if allowed else (403, b"{}")
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate.cert, self.certificate.key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    @property
    def environ(self) -> dict[str, str]:
        port = str(self.server.server_address[1])
        return {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": port, "PROG_CLUSTER_IDENTITY": "true",
            "SVC_CLUSTER_IDENTITY": "on",
        }  # fmt: skip

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def home(folder: Path, app: str) -> Path:
    (folder / app).mkdir(exist_ok=True)
    return folder / app


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    (tmp_path / "mounted").mkdir()
    (tmp_path / "mounted" / "token").write_text(TOKEN + "\n")
    server = ApiServer(tmp_path / "mounted")
    monkeypatch.setattr(cluster_identity, "TOKEN", str(tmp_path / "mounted" / "token"))
    monkeypatch.setattr(cluster_identity, "AUTHORITY", server.certificate.cert)
    yield server
    server.close()


def test_one_question_with_the_pods_own_token(api: ApiServer, tmp_path: Path) -> None:
    """The id is hashed, another way for each app; it is asked for once, and remembered without the uid."""
    homes = {app: str(home(tmp_path, app)) for app in ("prog", "svc")}
    for _ in range(2):
        clusters = {app: find_cluster(app, folder, api.environ) for app, folder in homes.items()}

    assert [("GET", "/api/v1/namespaces/kube-system", f"Bearer {TOKEN}")] * 2 == api.asked
    assert 2 == len(set(clusters.values()) - {""})
    for app, cluster in clusters.items():
        assert f"{cluster}\n" == (tmp_path / app / "cluster").read_text()
        assert UID not in cluster


@pytest.mark.parametrize("word", ["", "false", "off", "0", "no", "maybe", "local"])
def test_nobody_is_asked_unless_it_is_wanted(api: ApiServer, tmp_path: Path, word: str) -> None:
    """Neither while it is not, nor by a word that means nothing; what was remembered is not used then."""
    (home(tmp_path, "prog") / "cluster").write_text("8d9c2e54\n")

    assert "" == find_cluster("prog", str(tmp_path / "prog"), {**api.environ, "PROG_CLUSTER_IDENTITY": word})
    assert [] == api.asked


ANSWERS = [
    (403, b"{}"), (404, b""), (500, b"x"), (301, b""), (200, b""), (200, b"\xff"), (200, b"[]"), (200, b'{"metadata":3}'),
    (200, b'{"metadata":{"uid":7}}'), (200, b'{"metadata":{"uid":""}}'), (200, b"[" * 100_000),
]  # fmt: skip


@pytest.mark.parametrize("answer", ANSWERS, ids=range(len(ANSWERS)))
def test_whatever_it_answers(api: ApiServer, tmp_path: Path, answer: tuple[int, bytes]) -> None:
    """No right, or nonsense: there is no id, and nothing is remembered."""
    api.answer = answer

    assert "" == find_cluster("prog", str(home(tmp_path, "prog")), api.environ)
    assert [] == list((tmp_path / "prog").iterdir())


@pytest.mark.parametrize(
    "how", ["no token", "no authority", "another authority", "nobody listens", "no host", "no port"]
)
def test_whatever_is_missing(api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """The token goes to no server that the cluster's own authority does not vouch for."""
    environ = api.environ
    if how == "no token":
        monkeypatch.setattr(cluster_identity, "TOKEN", str(tmp_path / "none"))
    elif how == "no authority":
        monkeypatch.setattr(cluster_identity, "AUTHORITY", str(tmp_path / "none"))
    elif how == "another authority":
        (tmp_path / "other").mkdir()
        monkeypatch.setattr(cluster_identity, "AUTHORITY", Certificate(tmp_path / "other").cert)
    elif how == "nobody listens":
        environ["KUBERNETES_SERVICE_PORT"] = "1"
    else:
        environ["KUBERNETES_SERVICE_HOST" if how == "no host" else "KUBERNETES_SERVICE_PORT"] = ""

    assert "" == find_cluster("prog", str(home(tmp_path, "prog")), environ)
    assert [] == api.asked


@pytest.mark.parametrize("writable", [True, False])
def test_a_home_that_takes_no_file(api: ApiServer, tmp_path: Path, writable: bool) -> None:
    """Then it is asked for again."""
    folder = home(tmp_path, "prog") if writable else tmp_path / "none"

    first = find_cluster("prog", str(folder), api.environ)

    assert first
    assert first == find_cluster("prog", str(folder), api.environ)
    assert (1 if writable else 2) == len(api.asked)


def test_it_comes_with_every_record(
    api: ApiServer, tmp_path: Path, sink: Sink, plain_environ: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a service whose operator wants it, and of nobody else; neither uid nor token is in any byte."""
    sent = []
    for n, word in enumerate(("true", "false")):
        for name, value in {**api.environ, "PROG_CLUSTER_IDENTITY": word}.items():
            monkeypatch.setenv(name, value)
        spool = Spool(tmp_path / str(n), {"otlp": sink.address})
        spool.settings.update(service=True, consent="opt-out", schema={"alive": {"kind": "heartbeat", "why": "x"}})
        spool.put(beat(time.time() - 7_200))
        spool.drain()
        sent += [one["resource"].get("k8s.cluster.uid") for one in sink.spans()]
        sink.told.clear()

    assert [find_cluster("prog", str(tmp_path / "0" / "prog"), api.environ) or "never", None] == sent
