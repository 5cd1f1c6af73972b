"""Where the relay's application of otel-usage 0.1 lay. To be removed with the release after 0.2."""

from ..server.app import make_app
from ..server.options import Options as Settings

__all__ = ["Settings", "make_app"]
