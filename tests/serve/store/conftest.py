"""What the tests of the server share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .stores import OLD_VIEWER_TOKEN, VIEWER_TOKEN, ServeProcess


@pytest.fixture(scope="package")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    """A server for the tests that do not mind what others have sent; tokens: see there."""
    folder = tmp_path_factory.mktemp("serve")
    (folder / "tokens").write_text("any-app\nmycli-only mycli\nothers-only other,third\n")
    (folder / "viewers").write_text(f"{OLD_VIEWER_TOKEN}\n{VIEWER_TOKEN}\n")
    options = [
        "--token-file",
        str(folder / "tokens"),
        "--viewer-token-file",
        str(folder / "viewers"),
        "--body-mib",
        "1",
    ]
    with ServeProcess(folder / "store", *options, "--decoded-mib", "2") as server:
        yield server
