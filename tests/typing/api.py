"""The public API as its users write it: checked by mypy, never run."""

import sys

import otel_usage


def main() -> int:
    """Use every public name."""
    usage = otel_usage.init(
        "mycli",
        version="1.4",
        consent="opt-out",
        destinations={"otlp": "https://usage.example.org", "ga4": {"measurement_id": "G-1"}},
        schema={
            "report.upload": {
                "why": "is uploading worth keeping?",
                "fields": {
                    "format": ["pdf", "html"],
                    "retried": bool,
                    "size": otel_usage.bucket("MB", 1, 10),
                    "plugins": otel_usage.several(["git", "slack"]),
                    "pages": otel_usage.integer(500),
                    "engine": otel_usage.version(),
                },
            },
        },
    )
    usage.action("report.upload", format="pdf")
    with usage.action("report.upload") as action:
        action.set(format="html")
    usage.count("events.seen")
    usage.count("events.seen", 3, channel="slack")
    usage.error("config.invalid")
    usage.heartbeat("alive", nodes=3)
    with usage.command("scan"):
        otel_usage.action("report.upload")
        otel_usage.count("events.seen")
        otel_usage.error("config.invalid")
    recording: bool = usage.recording
    usage.flush()
    usage.shutdown()
    try:
        otel_usage.flush()
    except otel_usage.SettingError:
        pass
    return 0 if recording else 1


if __name__ == "__main__":
    code: int = otel_usage.run(main)
    sys.exit(code)
