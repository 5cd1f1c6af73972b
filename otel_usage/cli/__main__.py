"""``python -m otel_usage.cli`` is ``otel-usage``."""

import sys

from . import main

if __name__ == "__main__":
    sys.exit(main())
