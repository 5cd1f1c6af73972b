"""The Collector's configuration files: documented, valid, and no wider than our own tables."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import NumberDataPoint

from otel_usage.schema import patterns
from otel_usage.schema.attributes import ATTRIBUTES, DERIVED, OUTCOMES
from otel_usage.server.options import Options
from tests.collector.gateway import CONFIG
from tests.collector.harness import RUN, metrics, traces


def validated(otelcol: str, *files: str, **environ: str) -> tuple[int, str]:
    """Return what ``validate`` says of *files*."""
    command = [otelcol, "validate", *(f"--config={CONFIG / file}" for file in files)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True)
    return done.returncode, done.stderr


def test_every_variable_is_documented_with_its_default() -> None:
    """README.md tells of each variable of the files, and of no other."""
    used: dict[str, str] = {}
    for file in CONFIG.glob("*.yaml"):
        used.update(re.findall(r"\$\{env:(\w+)(?::-([^}]*))?\}", file.read_text()))
    told = (CONFIG / "README.md").read_text().partition("## Variables")[2].partition("\n## ")[0]
    rows = [row for row in told.splitlines() if row.startswith("| `")]

    named = [name for row in rows for name in re.findall(r"`([A-Z_]+)`", row.split("|")[1])]
    assert set(used) == set(named)
    for name in ("GATEWAY_HTTP", "GATEWAY_GRPC", "GATEWAY_HEALTH", "GATEWAY_FSYNC", "GATEWAY_FLUSH", "RELAY_CONSUMERS"):
        [row] = [row for row in rows if f"`{name}`" in row.split("|")[1]]
        assert used[name] in row


BACKEND = {"BACKEND_OTLP_ENDPOINT": "http://127.0.0.1:9"}


def expanded(pattern: str) -> set[str]:
    """Return all that *pattern* matches: words, groups and alternatives only, but for the name of a field."""
    pattern = pattern.replace("[a-z][a-z0-9_]{0,63}", "format").replace("[a-z][a-z0-9_]*(\\.[a-z0-9_]+)*", "a\\.b")
    at = 0

    def alternatives() -> set[str]:
        nonlocal at
        found, words = set(), {""}
        while at < len(pattern) and pattern[at] != ")":
            char, at = pattern[at], at + 1
            if char == "|":
                found, words = found | words, {""}
            elif char == "(":
                inner = alternatives()
                at += 1
                words = {word + more for word in words for more in inner}
            elif char not in "^$":
                if char == "\\":
                    char, at = pattern[at], at + 1
                assert char not in "[]*+?", pattern
                words = {word + char for word in words}
        return found | words

    return alternatives()


def test_the_allow_list_is_the_table() -> None:
    """What the gateway lets through is what otel_usage/schema/attributes.py's table says: no key, word or name more, and none less."""
    rules = (CONFIG / "gateway.yaml").read_text().replace("\\\\", "\\")
    lists = {
        where: [
            set(re.findall(r'"(.*?)"', one))
            for one in re.findall(rf"keep_keys\({where}\.attributes, \[(.*?)\]", rules, re.S)
        ]
        for where in ("resource", "span")
    }
    patterns = {
        where: [expanded(one) for one in re.findall(rf'keep_matching_keys\({where}\.attributes,\s+"(.*?)"\)', rules)]
        for where in ("span", "datapoint")
    }
    on = {kind: {row.key for row in ATTRIBUTES if kind in row.on.split()} for kind in ("run", "resource")}
    events = {row.key for row in ATTRIBUTES if row.on not in ("run", "resource")}
    derived = {key for keys in DERIVED.values() for key in keys}

    assert {"resource": [on["resource"]], "span": [on["run"]]} == lists
    events, points = events | {"usage.field.format"}, derived | {"usage.field.format", "reason"}
    assert {"span": [events], "datapoint": [points]} == patterns
    assert [set(OUTCOMES)] == [expanded(one) for one in re.findall(r'usage\.outcome"\],\s+"(\^.*?)"', rules)]
    assert [{*DERIVED, "usage.dropped", "usage.count.a.b"}] == [
        expanded(one) for one in re.findall(r'metric\.name,\s+"(.*?)"', rules)
    ]


def test_commands_and_names_are_the_tables() -> None:
    """The patterns of what is checked most are the table's own."""
    rules = (CONFIG / "gateway.yaml").read_text().replace("\\\\", "\\")
    here = {of: set(re.findall(rf'usage\.{of}"\],\s+"\^(.*?)\$"', rules)) for of in ("command", "action", "error")}

    command = patterns.COMMAND.pattern.replace("(?:", "(").replace("\\w", "\\pL\\pN_")
    assert {
        "command": {f"({command})"},
        "action": {patterns.DECLARED_NAME.pattern},
        "error": {patterns.DECLARED_NAME.pattern},
    } == here


def test_no_batch_is_more_than_the_relay_takes() -> None:
    """However small or large the items of a batch are, as far as they pass, the relay does not refuse it for its size."""
    limits, text = Options(), (CONFIG / "fan-out.yaml").read_text()
    most = [int(n) for n in re.findall(r"max_size: (\d+)", text)]
    word, key = "x" * 64, "usage.field." + "x" * 64
    smallest = NumberDataPoint(start_time_unix_nano=1, time_unix_nano=1)
    fields = {f"{key[:-2]}{n:02}": word for n in range(31)}
    about = {row.key: word for row in ATTRIBUTES if row.on == "resource"}
    large = [
        traces([1], of=about, attributes={"usage.kind": "action", "usage.action": word, **fields}, name=word),
        traces([1], of=about, attributes={**RUN, "usage.options": ["--" + word] * 64, "error.type": "x" * 800}),
        metrics(1, of=about, attributes=fields),
    ]

    assert ["items", "bytes"] == re.findall(r"batch:\n +sizer: (\w+)", text)
    items, size = most
    assert size // (smallest.ByteSize() + 2) < limits.items  # each has a tag and a length
    assert items * (max(one.ByteSize() for one in large) + 2_000) < limits.decoded_bytes
    assert size < limits.body_bytes


@pytest.mark.parametrize(
    "files",
    [
        ("gateway.yaml",),
        ("gateway.yaml", "fan-out.yaml"),
        ("gateway.yaml", "fan-out.yaml", "tls.yaml", "token.yaml"),
        ("gateway.yaml", "token.yaml", "tls.yaml", "fan-out.yaml"),
    ],
)
def test_the_files_are_valid(otelcol: str, files: tuple[str, ...]) -> None:
    """All files, in any order, are valid with nothing set but what has no default, and use no deprecated name."""
    status, said = validated(otelcol, *files, **BACKEND, GATEWAY_TOKEN="t", GATEWAY_TLS_CERT="/c", GATEWAY_TLS_KEY="/k")

    assert (0, "") == (status, said)


@pytest.mark.parametrize(
    ("files", "environ", "expected"),
    [
        (("gateway.yaml",), {}, "endpoint must be specified"),
        (("gateway.yaml", "token.yaml"), BACKEND, "no bearer token provided"),
        (("gateway.yaml", "tls.yaml"), BACKEND, "must include both certificate and key"),
    ],
)
def test_what_is_missing_stops_it(
    otelcol: str, files: tuple[str, ...], environ: Mapping[str, str], expected: str
) -> None:
    """Without a backend, or a token or certificate that was asked for, the Collector does not start."""
    status, said = validated(otelcol, *files, **environ)

    assert status != 0
    assert expected in said
