"""A program's settings, as the commands remember them: without its keys."""

from __future__ import annotations

import pytest

from otel_usage.settings.remembered import SECRET, recall, redact_destinations, remember


def test_settings_survive_and_keys_do_not(tmp_path):
    """Schema types come back as they were; of destinations only addresses, numbers and the names of keys."""
    schema = {
        "a": {"why": "x", "fields": {"b": ("bucket", "MB", 1, 10), "v": ("version",), "i": ("integer", 9), "t": bool}}
    }
    settings = {
        "app": "prog", "version": "1", "consent": "opt-in", "policy": 2, "about": "", "schema": schema,
        "destinations": {
            "otlp": {"endpoint": "https://x.example/otlp?k=hunter2", "headers": {"api-key": "hunter2"}, "timeout_s": 3},
            "segment": {"write_key": "hunter2", "names": {"a": "A Thing"}}, "webhook": "https://x.example:8/hunter2",
            "plain": "https://x.example/", "other": "hunter2",
        },
    }  # fmt: skip

    remember(str(tmp_path), settings)
    told = recall(str(tmp_path))

    assert told is not None
    assert {"b": ("bucket", "MB", 1, 10), "v": ("version",), "i": ("integer", 9), "t": "bool"} == told["schema"]["a"][
        "fields"
    ]
    assert "hunter2" not in (tmp_path / "settings.json").read_text()
    assert {"endpoint": f"https://x.example/{SECRET}", "headers": {"api-key": SECRET}, "timeout_s": 3} == told[
        "destinations"
    ]["otlp"]
    assert (f"https://x.example:8/{SECRET}", "https://x.example", SECRET) == tuple(
        told["destinations"][name] for name in ("webhook", "plain", "other")
    )
    assert {"a": "A Thing"} == told["destinations"]["segment"]["names"]
    assert told["destinations"] == redact_destinations(told["destinations"])


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", '{"schema": "os.remove(1)"}', '{"schema": "[1]", "app": "x", "destinations": null}', "\x00"],
)
def test_remembered_settings_that_are_damaged_are_none(tmp_path, text):
    """A damaged file is as good as none, and is never evaluated."""
    (tmp_path / "settings.json").write_text(text)

    assert recall(str(tmp_path)) is None
