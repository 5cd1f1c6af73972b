"""Where the relay of otel-usage 0.1 lay; it is `otel_usage.server` now. To be removed with the release after 0.2."""
