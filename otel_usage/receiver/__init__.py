"""Play a backend on this machine: an OTLP receiver, and vendors, strict in what they take."""
