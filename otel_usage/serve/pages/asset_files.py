"""The files that pages refer to, each under an address with its digest: a browser keeps it for good."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "assets"
TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
NAMES = ("pages.css", "pages.js", "live.js", "echarts.js", "icon.svg")


@dataclass(frozen=True)
class Asset:
    """One file: its content as it is and compressed, its media type, and the address that pages use."""

    content: bytes
    compressed: bytes
    media_type: str
    address: str


@cache
def asset(name: str) -> Asset | None:
    """Return the file *name*; None if it is none of ours, or echarts.js was not built (see front-end/build.py)."""
    if name not in NAMES or not (FOLDER / name).exists():
        return None
    content = (FOLDER / name).read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:12]
    compressed = gzip.compress(content, mtime=0)
    return Asset(content, compressed, TYPES[(FOLDER / name).suffix], f"/assets/{digest}/{name}")
