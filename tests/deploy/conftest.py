"""The real helm for the tests beside this file, and charts with the library chart in them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ..hosts import ROOT

HELM, MANIFESTS = ROOT / "build" / "helm", ROOT / "build" / "manifests"


class Helm:
    """The real helm, with nothing of the user's; and a chart, with the library chart beside it."""

    def __init__(self, folder: Path, chart: Path) -> None:
        self.chart = folder / "chart"
        shutil.copytree(chart, self.chart)
        shutil.copytree(ROOT / "deploy" / "helm" / "otel-usage", self.chart / "charts" / "otel-usage")
        self.environ = {"PATH": os.environ["PATH"], "HOME": str(folder)}

    def run(self, *words: str, values: str = "") -> tuple[int, str]:
        """Run helm on the chart with *values*, YAML; return the exit code and what it wrote."""
        command = [str(HELM), words[0], *([] if words[0] == "lint" else ["rel"]), str(self.chart), *words[1:]]
        ended = subprocess.run(
            [*command, "--namespace", "space", "--values", "-"],
            env=self.environ, input=values.encode(), capture_output=True, check=False, timeout=60,
        )  # fmt: skip
        return ended.returncode, (ended.stdout + ended.stderr).decode()

    def render(self, values: str = "", *words: str) -> list[dict[str, Any]]:
        """Return the manifests, of which each fits Kubernetes' own type."""
        status, text = self.run("template", *words, values=values)
        assert 0 == status, text
        decoded = subprocess.run([MANIFESTS], input=text.encode(), capture_output=True, check=False, timeout=60)
        assert (0, b"") == (decoded.returncode, decoded.stderr)
        return [document for document in yaml.safe_load_all(text) if document]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs helm where it is not built."""
    why = "no helm: make helm builds it"
    if not (HELM.exists() and MANIFESTS.exists()):
        for item in items:
            if Path(__file__).parent in item.path.parents and "helm" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(scope="module")
def helm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Return helm with the chart that the module names."""
    return Helm(tmp_path_factory.mktemp("helm"), request.module.CHART)
