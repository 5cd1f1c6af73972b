"""What RudderStack and Jitsu make of our requests to Segment: the rules of their own servers, said again here.

RudderStack: rudder-server, ``gateway/handle_http_auth.go`` (0076e506), ``gateway/handle.go`` (005a9eae) and
``gateway/processor/request_ip_processor.go`` (858907fb). Jitsu: jitsucom/bulker, ``ingest/router.go`` (053dc8e7 and 5c2e5735,
and a later one without an address) and ``ingest/router_batch_handler.go`` (06d48d27). Read 2026-11-27; no server was run.
"""

from __future__ import annotations

import gzip
import json
from base64 import b64decode

import pytest
from otel_usage_exporters.packing import Request
from otel_usage_exporters.segment import SegmentSpanExporter
from otel_usage_exporters.segment.exporter import ENDPOINT, ENDPOINT_EU, Segment

from otel_usage.receiver import segment as wire

from .servers import OK, action, error, heartbeat, run

JITSU_KEY = "clkey0001:s3cret-of-jitsu"
CLIENT = "203.0.113.9"


def sent(serve, key, path=""):
    """Return (path, headers by lower-case name, content) of the one request to a compatible server."""
    server = serve(OK)
    spans = [make(n) for n, make in enumerate((run, action, error, heartbeat), 1)]
    verdict = SegmentSpanExporter(write_key=key, endpoint=server.url + path, folder="").deliver(spans)
    assert ((), {}) == (verdict.unsent, verdict.dropped)
    [(address, headers, body)] = server.requests
    return address, {name.lower(): value for name, value in headers.items()}, json.loads(gzip.decompress(body))


def write_key_at_rudderstack(headers):
    """As Go's ``Request.BasicAuth``: the words before and after the first colon."""
    key, colon, _ = b64decode(headers["authorization"].removeprefix("Basic ")).decode().partition(":")
    assert colon
    return key


def write_key_at_jitsu(headers, *, trims):
    """All that the header has: what is in the body counts only without one. trims: as newer versions do, a colon at the end."""
    key = b64decode(headers["authorization"].replace("Basic ", "", 1)).decode()
    return key.removesuffix(":") if trims else key


def stream_at_jitsu(key):
    """Return (id, secret) as its ``WriteKeyStreamLocator`` looks them up; (id, None) is a stream by its own id."""
    words = key.split(":")
    return (words[0], None) if len(words) == 1 else (words[0], words[1])


def patched_by_jitsu(message, headers, *, key_type, knows_policy):
    """Return a message as its ``patchEvent`` leaves it. key_type: browser or s2s. knows_policy: as newer versions do."""
    address = "" if knows_policy and headers.get("x-ip-policy") == "remove" else CLIENT
    message = {**message, "context": dict(message["context"])}
    if address:
        message["requestIp"] = address
        if key_type == "browser":
            message["context"]["ip"] = address
    return message


def test_rudderstack_takes_it(serve):
    """``/v1/batch``, its key as the user's name; each message names who and has an id, a time and an address of its own."""
    address, headers, content = sent(serve, "2abcRudderKey")

    assert "/v1/batch" == address
    assert "2abcRudderKey" == write_key_at_rudderstack(headers)
    for message in content["batch"]:
        assert message["anonymousId"]
        assert message["messageId"]
        assert ("server", "0.0.0.0") == (message["channel"], message["request_ip"])
        assert message["type"] in ("track", "identify")


@pytest.mark.parametrize("trims", [False, True])
@pytest.mark.parametrize("path", ["", "/api/s/s2s/batch"])
def test_jitsu_takes_its_key(serve, path, trims):
    """``keyId:keySecret`` arrives as both, in old versions and new, at either address."""
    address, headers, content = sent(serve, JITSU_KEY, path)

    assert (path or "/v1/batch") == address
    assert ("clkey0001", "s3cret-of-jitsu") == stream_at_jitsu(write_key_at_jitsu(headers, trims=trims))
    assert JITSU_KEY == content["writeKey"]
    assert "application/json" == headers["content-type"]


@pytest.mark.parametrize("key_type", ["browser", "s2s"])
def test_a_new_jitsu_is_asked_to_keep_no_address(serve, key_type):
    """Newer versions leave the sender's address out if the request asks for it: neither ``requestIp`` nor ``context.ip``."""
    _, headers, content = sent(serve, JITSU_KEY)

    for message in content["batch"]:
        patched = patched_by_jitsu(message, headers, key_type=key_type, knows_policy=True)
        assert CLIENT not in json.dumps(patched)
        assert "0.0.0.0" == patched["context"]["ip"]


def test_an_old_jitsu_keeps_the_address(serve):
    """What docs/segment.md says of it: with a server's key ``context.ip`` stays ours, and ``requestIp`` is there in any case."""
    _, headers, content = sent(serve, JITSU_KEY)

    as_server, as_browser = (
        patched_by_jitsu(content["batch"][0], headers, key_type=of, knows_policy=False) for of in ("s2s", "browser")
    )
    assert ("0.0.0.0", CLIENT) == (as_server["context"]["ip"], as_browser["context"]["ip"])
    assert CLIENT == as_server["requestIp"] == as_browser["requestIp"]


@pytest.mark.parametrize(
    ("endpoint", "asked"), [(ENDPOINT, False), (ENDPOINT_EU, False), ("https://jitsu.example.org", True)]
)
def test_segment_itself_is_asked_nothing(endpoint, asked):
    """The header is for compatible servers; to Segment we say what its own clients say."""
    vendor = Segment({"write_key": JITSU_KEY, "endpoint": endpoint, "folder": ""}, {})

    headers = vendor.write(Request((), b'{"batch":['), 0, redact=False)[2]

    assert asked == ("X-IP-Policy" in headers)


def test_what_is_played_here_knows_a_jitsu_key(serve):
    """``otel-usage listen`` finds nothing wrong with a key that has a colon in it."""
    server = serve(OK)
    SegmentSpanExporter(write_key=JITSU_KEY, endpoint=server.url, folder="").deliver([run()])
    [(address, headers, body)] = server.requests

    assert (200, []) == (wire.answer(address, headers, body)[0], wire.answer(address, headers, body)[3])
