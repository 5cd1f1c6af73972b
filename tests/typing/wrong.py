"""What type checkers refuse: each line is an error that its comment names. mypy fails where one is none.

Never run. tests/typing/test_pyright.py has pyright find the same lines.
"""

import otel_usage
from otel_usage.schema.rows import Schema

schema: Schema = {"n": {"why": "x", "kind": "count", "fields": {"a": bool, "b": ["x"], "c": otel_usage.integer(9)}}}
otel_usage.init("mycli", version="1", consent="opt-in", schema=schema)

usage = otel_usage.init("mycli", version="1", consent="optout")  # type: ignore[arg-type]
otel_usage.init("mycli", version="1", consent="opt-in", sender="inlin")  # type: ignore[arg-type]
otel_usage.init("mycli", version="1", consent="opt-in", schema={"x": {"wy": "x"}})  # type: ignore[typeddict-item,typeddict-unknown-key]
otel_usage.init("mycli", version="1", consent="opt-in", schema={"x": {"why": "x", "kind": "counter"}})  # type: ignore[typeddict-item]
otel_usage.init("mycli", version="1", consent="opt-in", schema={"x": {"kind": "count"}})  # type: ignore[typeddict-item]
otel_usage.init("mycli", version="1", consent="opt-in", schema={"x": {"why": "x", "fields": {"y": 3}}})  # type: ignore[dict-item]
otel_usage.init("mycli", version="1", consent="opt-in", destinations={"otlp": 4318})  # type: ignore[dict-item]
otel_usage.init("mycli", version="1", consent="opt-in", destinations="otlp")  # type: ignore[arg-type]
otel_usage.init("mycli", version=1.4, consent="opt-in")  # type: ignore[arg-type]
otel_usage.init("mycli", consent="opt-in")  # type: ignore[call-arg]
usage.error("config.invalid", str(ValueError()))  # type: ignore[arg-type]
usage.action("report.upload", {"format": "pdf"})  # type: ignore[arg-type]
usage.count("n", 2, 3)  # type: ignore[arg-type]
usage.count("n", "two")  # type: ignore[arg-type]
usage.heartbeat("alive", 3)  # type: ignore[arg-type]
usage.command("scan", "x")  # type: ignore[arg-type]
usage.command(5)  # type: ignore[arg-type]
otel_usage.count(5)  # type: ignore[arg-type]
