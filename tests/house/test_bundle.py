"""The wheel's bundles are what the readable parts make, and nothing that matters is there twice."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ..hosts import INTERPRETERS, ROOT, version_of

hatch_build = pytest.importorskip("hatch_build", reason="in the source tree")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this checkout, unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--disable-pip-version-check", "--no-deps", "--no-build-isolation",
         "-w", str(folder), str(ROOT)],
        check=True,
    )  # fmt: skip
    (archive,) = folder.glob("*.whl")
    with zipfile.ZipFile(archive) as file:
        names = file.namelist()
        assert len(names) == len(set(names)), "a file is in the wheel twice"
        file.extractall(folder / "unpacked")
    return folder / "unpacked"


@pytest.mark.parametrize("name", hatch_build.BUNDLES)
def test_a_bundle_is_made_of_its_parts(wheel: Path, name: str) -> None:
    """The file in the wheel is what the parts of today make: a stale one fails. Every comment is in it."""
    text = (wheel / "otel_usage" / name).read_text()

    assert hatch_build.bundle(ROOT, name) == text
    for part in hatch_build.BUNDLES[name]:
        assert f"otel_usage/{part}" in text
        comments = re.findall(r"^ *(# [^\n]+)$", (ROOT / "otel_usage" / part).read_text(), re.MULTILINE)
        assert [] == [comment for comment in comments if comment not in text and "type:" not in comment]


def test_the_parts_are_not_in_the_wheel_besides(wheel: Path) -> None:
    """What stands in a bundle has no file of its own there: no second class of the same name can be imported."""
    parts = {part for name, parts in hatch_build.BUNDLES.items() for part in parts if part != name}

    assert set() == {part for part in parts if (wheel / "otel_usage" / part).exists()}
    excluded = set(re.findall(r'^    "otel_usage/(\S+)",$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE))
    assert excluded == parts | set(hatch_build.BUNDLES) - {"recording/bundle.py"}


def test_what_pages_refer_to_is_in_the_wheel(wheel: Path) -> None:
    """Style, scripts, and the charts that front-end/build.py makes of what its lockfile names today, with their licences."""
    assets = wheel / "otel_usage" / "serve" / "pages" / "assets"
    sources = [ROOT / "front-end" / name for name in ("package.json", "package-lock.json", "charts.js", "build.py")]
    digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in sources)).hexdigest()

    assert {"pages.css", "pages.js", "live.js", "icon.svg"} <= {path.name for path in assets.iterdir()}
    assert digest in (assets / "echarts.js").read_text(encoding="utf-8").partition("\n")[0]
    assert "Apache License" in (assets / "echarts-licences.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("python", INTERPRETERS, ids=version_of)
@pytest.mark.parametrize(
    "first",
    [
        "otel_usage",
        "otel_usage.recording.recorder",
        "otel_usage.recording.run",
        "otel_usage.recording.exit_watch",
        "otel_usage.consent.gate",
        "otel_usage.recording.actions",
        "otel_usage.recording.handle",
        "otel_usage.recording.click_adapter",
    ],
)
@pytest.mark.parametrize("where", ["wheel", "source tree"])
def test_one_class_whichever_is_imported_first(wheel: Path, where: str, first: str, python: str) -> None:
    """There is one `Recorder`, one `Run`, one `Usage` and one gate, in whatever order they are imported."""
    code = f"""
import {first}
import otel_usage
from otel_usage.recording.recorder import Recorder
from otel_usage.recording import recorder, run, exit_watch
import otel_usage.recording.run as again
assert Recorder is recorder.Recorder is otel_usage._load("recording.recorder").Recorder
assert recorder.Run is run.Run is again.Run
assert recorder.watched_run is exit_watch.watched_run
from otel_usage.consent import gate
from otel_usage.consent.gate import decide
assert decide is gate.decide is otel_usage._load("consent.gate").decide
otel_usage.action
from otel_usage.recording.handle import Usage
assert Usage is otel_usage.Usage is type(otel_usage._usage)
import otel_usage.recording.actions, otel_usage.recording.forget, otel_usage.spool.layout
import gc
for name in ("Recorder", "Run", "Usage"):
    kinds = [kind for kind in gc.get_objects() if isinstance(kind, type) and kind.__name__ == name
             and kind.__module__.startswith("otel_usage")]
    assert len(kinds) == 1, kinds
"""
    path = wheel if where == "wheel" else ROOT
    ended = subprocess.run([python, "-c", code], env={"PYTHONPATH": str(path)}, cwd="/", capture_output=True, text=True)

    assert (0, "") == (ended.returncode, ended.stderr)


def test_two_equal_names_are_refused(tmp_path: Path) -> None:
    """Two parts that bind one name can't stand in one file: the later would win, and nobody would see it."""
    package = tmp_path / "otel_usage" / "recording"
    package.mkdir(parents=True)
    for part in hatch_build.BUNDLES["recording/bundle.py"]:
        (package / part.rpartition("/")[2]).write_text('"""A part."""\n\nimport os\n')
    (package / "run.py").write_text('"""A part."""\n\nLIMIT = 1\n')
    (package / "recorder.py").write_text('"""A part."""\n\ndef LIMIT(): ...\n')
    os.makedirs(tmp_path / "otel_usage" / "spool")
    (tmp_path / "otel_usage" / "spool" / "layout.py").write_text('"""Names."""\n')

    with pytest.raises(
        hatch_build.BundleError, match=r"'LIMIT' is bound by recording/run.py and by recording/recorder"
    ):
        hatch_build.bundle(tmp_path, "recording/bundle.py")
