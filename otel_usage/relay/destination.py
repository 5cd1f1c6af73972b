"""Where the relay's destinations of otel-usage 0.1 lay. To be removed with the release after 0.2."""

from ..server.workers import load_destination as load

__all__ = ["load"]
