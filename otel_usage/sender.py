"""Where the sender of otel-usage 0.1 lay: one that sleeps while a newer version is installed looks for it here.

To be removed with the release after 0.2.
"""

from .delivery.start import start as start
