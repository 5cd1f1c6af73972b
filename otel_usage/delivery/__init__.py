"""From files to destinations: the sender, the queues, the verdicts, the identity."""
