"""``otel-usage serve``: receive usage events, store them, answer questions about them, and show the answers."""
