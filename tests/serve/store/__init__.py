"""What `otel-usage serve` keeps, and its server."""
