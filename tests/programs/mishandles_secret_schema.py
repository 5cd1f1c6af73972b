"""What ``mishandles_secret.py`` declares."""

SCHEMA = {
    "did": {
        "why": "x",
        "fields": {
            "format": ["pdf", "html"],
            "size": ("bucket", "MB", 1, 10),
            "flag": "bool",
            "many": ("integer", 100),
            "of": ("version",),
        },
    },
    "n": {"kind": "count", "why": "x", "fields": {"format": ["pdf"]}},
    "bad": {"kind": "error", "why": "x"},
    "alive": {"kind": "heartbeat", "why": "x", "fields": {"many": ("integer", 100)}},
}
