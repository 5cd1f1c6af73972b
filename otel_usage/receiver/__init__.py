"""Play a backend on this machine: an OTLP receiver, GA4 and Segment, strict in what they take."""
