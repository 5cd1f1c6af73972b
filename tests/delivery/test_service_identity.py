"""Which installation a service is, and that its replicas are one: ids, heartbeats, and what leaves."""

from __future__ import annotations

import base64
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from otel_usage_exporters.usage_event import events_from_spans

from otel_usage.delivery import service_identity
from otel_usage.delivery.batch import Batch
from otel_usage.delivery.beats import phase_of, with_final_ids
from otel_usage.delivery.service_identity import find_identity, find_named, read_service_account_uid
from otel_usage.otlp import span_of
from otel_usage.recording.lasting import is_lasting
from otel_usage.recording.otlp_events import span
from otel_usage.recording.otlp_text import line

from ..spools import Sink, Spool

UID = "0e6b4c1e-7f5b-4b0e-9d9a-3f1f0c2d4e5f"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def token(claims: Any) -> bytes:
    """Return a token as Kubernetes mounts it, but for its signature."""
    part = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=")
    return b"eyJhbGciOiJSUzI1NiJ9." + part + b".c2lnbmF0dXJl"


CLAIMS = {
    "iss": "https://kubernetes.default.svc.cluster.local",
    "kubernetes.io": {"namespace": "s3cret-namespace", "serviceaccount": {"name": "bot", "uid": UID}},
    "sub": "system:serviceaccount:s3cret-namespace:bot",
}


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "token"
    path.write_bytes(token(CLAIMS))
    monkeypatch.setattr(service_identity, "TOKEN", str(path))
    return path


def test_the_operators_word_comes_first(mounted: Path, tmp_path: Path) -> None:
    """It is hashed, another way for each app, and the same wherever it is said."""
    environ = {"MY_SVC_INSTALLATION_ID": " production eu \n"}

    ids = {app: find_identity(app, str(tmp_path), environ).installation.id for app in ("my-svc", "my.svc")}

    assert all(UUID.fullmatch(one) for one in ids.values())
    assert 2 == len({*ids.values()})
    same = find_named("my-svc", {"MY_SVC_INSTALLATION_ID": "production eu"})
    assert same is not None
    assert ids["my-svc"] == same.id != find_identity("my-svc", str(tmp_path), {}).installation.id
    assert mounted.exists()
    assert [mounted] == list(tmp_path.iterdir())  # nothing is generated, nothing is kept


def test_replicas_have_the_id_of_their_service_account(mounted: Path, tmp_path: Path) -> None:
    """Every pod with that account is one installation, wherever its state lies; no claim is in the id, or kept."""
    identities = [find_identity("svc", str(tmp_path / str(n)), {}) for n in range(3)]

    assert 1 == len({identity.installation.id for identity in identities})
    assert [(False, False)] * 3 == [(identity.is_stored, identity.is_ephemeral) for identity in identities]
    assert UID not in identities[0].installation.id
    assert [mounted] == list(tmp_path.iterdir())


BAD_TOKENS = [
    b"", b".", b"a.b.c", b"\0" * 70_000, b"x." + b"!" * 20 + b".y", token([]), token({"kubernetes.io": 3}),
    token({"kubernetes.io": {"serviceaccount": {"uid": 3}}}), token({"kubernetes.io": {"serviceaccount": {"uid": "x" * 2_000}}}),
    token({"sub": "system:serviceaccount:a:b"}),
]  # fmt: skip


@pytest.mark.parametrize("content", BAD_TOKENS)
def test_a_broken_token_is_none(mounted: Path, tmp_path: Path, content: bytes) -> None:
    """Then the id in the home is what there is; nothing fails."""
    mounted.write_bytes(content)

    assert "" == read_service_account_uid(str(mounted))
    assert find_identity("svc", str(tmp_path / "home"), {}).is_stored


def test_a_token_that_is_no_file(tmp_path: Path) -> None:
    assert "" == read_service_account_uid(str(tmp_path))
    assert "" == read_service_account_uid(str(tmp_path / "none"))


def test_a_container_without_a_volume_is_ephemeral(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder on the container's own disk, in memory or an emptyDir goes with it; a volume stays."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    real, rows = open, [
        "1 0 0:30 / / rw - overlay overlay rw",
        "2 1 8:1 /var/lib/kubelet/pods/u/volumes/kubernetes.io~empty-dir/s /state rw - ext4 /dev/sda1 rw",
        "3 1 8:2 / /data\\040of rw - ext4 /dev/sdb rw",
        "4 1 0:31 / /run rw - tmpfs tmpfs rw",
    ]  # fmt: skip
    (tmp_path / "mountinfo").write_text("\n".join(rows) + "\nno such row\n")
    monkeypatch.setattr("builtins.open", lambda path, *a, **k: real(
        tmp_path / "mountinfo" if path == "/proc/self/mountinfo" else path, *a, **k
    ))  # fmt: skip

    lasting = {folder: is_lasting(folder) for folder in ("/home/a", "/state/x", "/data of/x", "/run/x", "/database")}

    assert {"/home/a": False, "/state/x": False, "/data of/x": True, "/run/x": False, "/database": False} == lasting


# -- heartbeats -------------------------------------------------------------------------------------------------------


def beat(at_s: float, which: str = f"{1:016x}", name: str = "alive") -> bytes:
    at_ns = int(at_s * 1e9)
    pairs: list[tuple[str, object]] = [("usage.kind", "heartbeat"), ("usage.heartbeat", name)]
    resource = '{"key":"service.name","value":{"stringValue":"prog"}}'
    return line("Spans", "spans", resource, span("0" * 16 + which, which, "", name, at_ns, at_ns, pairs, failed=False))


def ids_of(rows: list[bytes], installation_id: str) -> list[str]:
    schema = {"alive": {"kind": "heartbeat", "why": "x"}}
    batch = Batch({"app": "prog", "version": "1", "schema": schema}, 0, lambda: installation_id)
    for row in rows:
        assert b"0000000000000000" not in batch.add_traces(row)
    assert {} == +batch.dropped
    return [record.span["traceId"] + record.span["spanId"] for record in batch.records]


def test_fifty_replicas_and_their_restarts_make_one_heartbeat_of_a_day() -> None:
    """Whoever writes it, whenever in its window: the id is the same. Of another day, name, installation or set it is another."""
    day_s = time.time() // 86_400 * 86_400 - 86_400 * 3 + phase_of("a", "prog")
    moments = [day_s + n * 1_700 for n in range(50)]

    same = ids_of([beat(moment) for moment in moments], "a")
    others = ids_of([beat(day_s + 86_401), beat(day_s, f"{77:016x}"), beat(day_s + 4_000, f"{77:016x}")], "a")

    assert 1 == len(set(same))
    assert 4 == len({same[0], *others})
    assert same[0] not in ids_of([beat(day_s)], "b")
    assert 48 == len(same[0])


def test_days_begin_at_all_hours() -> None:
    """Fleets that start together do not report together."""
    hours = {phase_of(f"{n}", "prog") // 3_600 for n in range(400)}

    assert set(range(24)) == hours
    assert with_final_ids({"startTimeUnixNano": "1", "traceId": "0" * 31 + "1", "name": "x"}, "a", "b")["spanId"]


def test_replicas_are_one_installation_at_the_receiver(
    tmp_path: Path, sink: Sink, mounted: Path, plain_environ: None
) -> None:
    """Two disks, one account: one id, one heartbeat's id, no first run, and nothing of the token in any byte."""
    at_s = time.time() - 7_200
    for n in range(2):
        replica = Spool(tmp_path / str(n), {"otlp": sink.address})
        replica.settings.update(service=True, consent="opt-out", schema={"alive": {"kind": "heartbeat", "why": "x"}})
        replica.put(beat(at_s))
        replica.drain()

    sent = sink.spans(first_runs=True)
    assert ["heartbeat"] * 2 == [one["attributes"]["usage.kind"] for one in sent]
    assert 1 == len({one["spanId"] for one in sent})
    assert 1 == len({one["resource"]["app.installation.id"] for one in sent})
    assert not any("app.installation.ephemeral" in one["resource"] for one in sent)
    assert not any(word in body for _, _, body in sink.told for word in (UID.encode(), b"s3cret", b"bot"))
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path != mounted)
    assert UID.encode() not in kept
    assert b"s3cret" not in kept


def test_fifty_replicas_are_one_event_at_segment_and_at_a_relay() -> None:
    """What both know a repetition by is made of the span's ids: 150 heartbeats of a day are one."""
    day_s = time.time() // 86_400 * 86_400 - 86_400 * 2 + phase_of("a", "prog")
    batch = Batch({"app": "prog", "version": "1", "schema": {}}, 0, lambda: "a")
    for n in range(150):
        batch.add_traces(beat(day_s + n * 500, name="heartbeat"))
    scope = InstrumentationScope("otel_usage")
    spans = [span_of(one.span, one.attributes, Resource(dict(one.resource)), scope) for one in batch.records]

    assert 150 == len(spans)
    assert 1 == len({event.event_id for event in events_from_spans(spans)[0]})
