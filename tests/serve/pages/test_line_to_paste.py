"""The line that an empty store gives to paste: it works as it stands, against the real server."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests.collector.harness import DEADLINE_S
from tests.serve.store.stores import ServeProcess


@pytest.mark.parametrize("token", ["", "a-token-of-clients"])
def test_the_line_to_paste_sends_the_first_event(tmp_path: Path, token: str) -> None:
    """Pasted into a shell it runs the program, and its run is on the live stream, where clients need a token too."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {"PATH": path, "OTEL_USAGE_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)}
    options = []
    if token:
        (tmp_path / "tokens").write_text(token)
        options = ["--token-file", str(tmp_path / "tokens")]
    with ServeProcess(tmp_path / "usage.duckdb", *options) as server:
        page = requests.get(server.url, timeout=DEADLINE_S)
        line = html.unescape(re.search(r'id="line">([^<]+)<', page.text)[1]).replace("TOKEN", token)
        with requests.get(f"{server.url}/live/events?after=0", stream=True, timeout=DEADLINE_S) as stream:
            done = subprocess.run(
                ["sh", "-c", line], env=environment, cwd=tmp_path, capture_output=True, timeout=DEADLINE_S
            )
            arrived = next(text for text in stream.iter_lines(1, decode_unicode=True) if '"run", "success"' in text)

    assert 0 == done.returncode
    assert b"usage.duckdb" in done.stdout
    assert "hello (unknown)" in arrived
    assert "default-src 'none'" in page.headers["content-security-policy"]
