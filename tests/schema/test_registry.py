"""The registry of semantic conventions: well-formed, whole, and with a host's schema in it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import opentelemetry.semconv
import yaml

import otel_usage
from otel_usage.schema.attributes import ATTRIBUTES, DERIVED
from otel_usage.schema.declaration import check_schema
from otel_usage.schema.registry import manifest, registry

from ..hosts import ROOT

SCHEMA: dict[str, Any] = {
    "report.upload": {"why": 'is "it": worth\n- keeping?', "fields": {"format": ["pdf", "html"], "retried": bool}},
    "report.print": {"why": "paper?", "fields": {"format": ["pdf", "ps"], "size": otel_usage.bucket("MB", 1, 10)}},
    "events.handled": {"kind": "count", "why": "load", "fields": {"channel": ["slack"], "n": otel_usage.integer(9)}},
    "config.invalid": {"kind": "error", "why": "confusing", "fields": {"size": otel_usage.version(), "n": bool}},
}
NEEDS = {
    "attribute_group": {"id", "type", "brief", "attributes"},
    "span": {"id", "type", "brief", "attributes", "span_kind", "stability"},
    "metric": {"id", "type", "brief", "metric_name", "instrument", "unit", "stability", "attributes"},
}
TYPES = {"string", "int", "boolean", "string[]", "any"}


def known_to_opentelemetry() -> set[str]:
    """The attributes of the installed semantic conventions."""
    texts = [path.read_text() for path in Path(opentelemetry.semconv.__path__[0]).rglob("*_attributes.py")]
    texts += [path.read_text() for path in Path(opentelemetry.semconv.__path__[0]).rglob("attributes/*.py")]
    return {name for text in texts for name in re.findall(r'"([a-z0-9_]+(?:\.[a-z0-9_]+)+)"', text)}


def check(text: str) -> dict[str, Any]:
    """Check what weaver's own JSON schema asks of a registry, and return its groups by id."""
    content = yaml.safe_load(text)
    groups = {group["id"]: group for group in content["groups"]}
    assert {"groups"} == set(content)
    assert len(content["groups"]) == len(groups)
    attributes = [one for group in groups.values() for one in group["attributes"]]
    defined = [one["id"] for one in attributes if "id" in one]
    assert len(defined) == len(set(defined))
    assert {one["ref"] for one in attributes if "ref" in one} - set(defined) <= known_to_opentelemetry()
    for group in groups.values():
        assert NEEDS[group["type"]] == set(group)
    for one in attributes:
        if "id" not in one:
            assert {"ref"} == set(one)
            continue
        assert {"id", "type", "stability", "brief"} <= set(one) <= {"id", "type", "stability", "brief", "examples"}
        if isinstance(one["type"], dict):
            ids = [member["id"] for member in one["type"]["members"]]
            assert ids
            assert len(set(ids)) == len(ids)
            assert all(identifier[0].isalpha() for identifier in ids)
        else:
            assert one["type"] in TYPES
            assert ("examples" in one) == (one["type"] not in ("int", "boolean"))
    return groups


def test_the_stored_registry_is_current_and_well_formed() -> None:
    """docs/registry/ is what is generated: every attribute that is ours, and every counter."""
    folder = ROOT / "docs" / "registry"

    groups = check((folder / "usage.yaml").read_text(encoding="utf-8"))

    assert registry() == (folder / "usage.yaml").read_text(encoding="utf-8")
    assert manifest("otel-usage", otel_usage.__version__) == (folder / "manifest.yaml").read_text(encoding="utf-8")
    own = {row.key for row in ATTRIBUTES if row.key.startswith("usage.")} | {"app.installation.ephemeral"}
    assert own | {"reason"} == {one["id"] for one in groups["registry.usage"]["attributes"]}
    assert {*DERIVED, "usage.dropped"} == {g["metric_name"] for g in groups.values() if g["type"] == "metric"}
    assert 1 == len(yaml.safe_load((folder / "manifest.yaml").read_text())["dependencies"])


def test_a_hosts_schema_is_added() -> None:
    """Its counts are metrics, its fields attributes: of one name in several rows, all choices, or the wider type."""
    check_schema(SCHEMA)

    groups = check(registry(SCHEMA))

    fields = {
        one["id"].removeprefix("usage.field."): one["type"] for one in groups["registry.usage.field"]["attributes"]
    }
    assert ["pdf", "ps", "html"] == [member["value"] for member in fields["format"]["members"]]
    assert ("boolean", "string", "any") == (fields["retried"], fields["size"], fields["n"])
    assert "load" == groups["metric.usage.count.events.handled"]["brief"]
    assert {"usage.field.channel", "usage.field.n"} == {
        one["ref"] for one in groups["metric.usage.count.events.handled"]["attributes"]
    }
    assert {"ref": "usage.field.format"} in groups["span.usage.action.internal"]["attributes"]
    assert 'is "it": worth\n- keeping?' in groups["registry.usage.field"]["attributes"][-2]["brief"]


def test_describe_writes_it(tmp_path: Path) -> None:
    """``otel-usage describe --registry`` writes both files, and says what it can't write."""
    command = [sys.executable, "-m", "otel_usage", "describe", f"{ROOT / 'examples' / 'digest.py'}:usage", "--registry"]
    written = subprocess.run([*command, str(tmp_path / "new" / "registry")], capture_output=True, text=True)
    (tmp_path / "file").touch()
    refused = subprocess.run([*command, str(tmp_path / "file")], capture_output=True, text=True)

    assert (0, "") == (written.returncode, written.stdout)
    groups = check((tmp_path / "new" / "registry" / "usage.yaml").read_text(encoding="utf-8"))
    assert "registry.usage.field" in groups
    assert "digest" == yaml.safe_load((tmp_path / "new" / "registry" / "manifest.yaml").read_text())["name"]
    assert 1 == refused.returncode
    assert "can't be written" in refused.stderr
