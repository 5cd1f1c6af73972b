"""No secret that a program meets is in any byte that is written, printed or sent: several hundred generated cases."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests import planted_secrets as secrets

from .exporters.named_vendors import OTHERS
from .spools import Sink

CHUNKS, CASES = 6, 500 if os.environ.get("OTEL_USAGE_SLOW") else 50  # `make test-all`; `make bench` runs thousands


def heard(sink: Sink) -> list[tuple[str, bytes]]:
    """Return every byte that was sent: addresses, headers and bodies."""
    return [
        (f"sent to {path}", text)
        for path, headers, body in sink.told
        for text in (path.encode(), repr(headers).encode(), body)
    ]


def searched(cases: Sequence[secrets.Case], root: Path, sink: Sink, **sabotage: str) -> tuple[list[str], set[str], int]:
    """Run, search, send, search. Returns where a secret was found, the paths that were sent to, and how many records."""
    known = [case.secret for case in cases]
    more = {"PYTHONPATH": f"{sabotage['host']}:{secrets.ROOT}"} if sabotage else None
    found = secrets.hits(known, secrets.run(cases, root, sink.address, more=more))
    n = secrets.recorded(root / "state")
    secrets.send(root / "state", sink.address, code=sabotage.get("sender", ""))
    found += secrets.hits(known, [*heard(sink), *secrets.written(root / "state")])
    return found, {path.split("/")[1].partition("?")[0] for path, _, _ in sink.told}, n


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_no_secret_leaves(chunk: int, tmp_path: Path, sink: Sink):
    """Frameworks, examples, outcomes, modes and exporters: in no disguise is anything found."""
    cases = [secrets.case(chunk * CASES + n) for n in range(CASES)]

    found, exporters, n = searched(cases, tmp_path, sink)

    assert [] == found
    assert {"otlp", "ga4", "segment", *OTHERS} == exporters
    kept = [case for case in cases if case.mode != "log" and case.outcome != "gone"]
    assert n >= len(kept), "cases that record nothing prove nothing"


def test_without_the_allow_list_they_are_found(tmp_path: Path, sink: Sink):
    """The search works: with every check disabled, the same cases leak to disk and to every exporter."""
    (tmp_path / "sabotage").mkdir()
    (tmp_path / "sabotage" / "sitecustomize.py").write_text(
        "from otel_usage.recording import actions\n"
        "actions.accept = lambda schema, kind, name, fields: ([(k, str(v)) for k, v in fields.items()], [])\n"
    )
    sender = "from otel_usage.delivery import batch\nbatch.check_span = lambda *told: ''\nbatch.check_point = lambda *told: ''"
    cases = [
        c for c in map(secrets.case, range(10_000)) if c.outcome == "fields" and c.framework in ("argparse", "none")
    ]
    cases = [case for case in cases if case.mode == "on"][:3]

    found, _, _ = searched(cases, tmp_path, sink, host=str(tmp_path / "sabotage"), sender=sender)

    assert any("/new/" in where for where in found)
    for exporter in ("otlp", "ga4", "segment", *OTHERS):
        assert any(where.startswith(f"sent to /{exporter}") for where in found), exporter


@pytest.mark.parametrize("disguise", ["plain", "base64", "hex", "url", "sha256", "reversed", "gzip"])
def test_the_search_sees_through_disguises(disguise: str):
    """A secret is found however it is encoded."""
    import base64
    import gzip
    import hashlib
    from urllib.parse import quote

    secret = secrets.case(1).secret
    raw = secret.encode()
    text = {
        "plain": raw,
        "base64": base64.b64encode(b"x" + raw + b"yz"),
        "hex": raw.hex().encode(),
        "url": quote(secret).encode(),
        "sha256": hashlib.sha256(raw).hexdigest().encode(),
        "reversed": "".join(c for c in secret if c.isascii() and c.isalnum())[::-1].encode(),
        "gzip": gzip.compress(raw),
    }[disguise]

    around = text if disguise == "gzip" else b"before " + text + b" after"
    assert secrets.hits([secret], [("here", around)])
