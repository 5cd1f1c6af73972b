"""``python -m otel_usage`` is ``otel-usage``, for users who have the program's interpreter and not our command on PATH."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
