"""What a host said to `init`: checked, read back from text, remembered, documented."""
