"""``validate=True`` as a destination of init: what GA4 objects to is in the user's own record, and nothing of what was sent."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

OBJECTIONS = {
    "validationMessages": [
        {
            "fieldPath": "events[0].name",
            "description": "Event [command_run] with [secret-payload]",
            "validationCode": "NAME_RESERVED",
        },
        {"fieldPath": "events[0].name", "description": "Event [command_run] again", "validationCode": "NAME_RESERVED"},
        {"fieldPath": "secret payload, at length", "description": "x", "validationCode": "VALUE_INVALID"},
    ]
}


@pytest.mark.parametrize(
    ("answer", "objections"),
    [
        (json.dumps(OBJECTIONS).encode(), "NAME_RESERVED events[0].name; VALUE_INVALID"),
        (b'{"validationMessages": []}', ""),
        (b"<html>", "the validation server's answer can't be read"),
        (b'{"validationMessages": ["x"]}', "the validation server's answer can't be read"),
    ],
    ids=["objects", "agrees", "html", "other"],
)
def test_objections_are_in_history(answer, objections, spool, serve):
    """`history` shows GA4's codes and where they apply, beside how many were checked; no file of ours has its sentences."""
    server = serve((200, {}, answer))
    spool.settings["destinations"] = {
        "ga4": {"measurement_id": "G-ABC1234567", "api_secret": "x", "endpoint": server.url, "validate": True}
    }
    spool.run()

    spool.drain()

    shown = subprocess.run(
        [sys.executable, "-m", "otel_usage.cli", "history", "--app", "prog", "--json"], capture_output=True, text=True
    ).stdout
    table = subprocess.run(
        [sys.executable, "-m", "otel_usage.cli", "history", "--app", "prog"], capture_output=True, text=True
    ).stdout
    [entry] = [each for each in json.loads(shown) if each["signal"] == "traces"]
    assert ({"validated": 1}, objections) == (entry["dropped"], entry.get("why", ""))
    assert ("validated", 1) == (entry["result"], entry["records"])
    assert "1 validated" in table
    # Nothing was lost: no later batch counts it, as refused or otherwise.
    assert not (spool.folder / "dropped").exists() or {} == json.loads((spool.folder / "dropped").read_text())
    assert objections[:20] in " ".join(table.split())
    assert b"payload" not in b"".join(path.read_bytes() for path in spool.home.rglob("*") if path.is_file())
