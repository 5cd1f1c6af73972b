"""The example's chart, with the library chart as helm itself fetches it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ..hosts import ROOT
from .conftest import HELM, Helm

CHART = ROOT / "examples" / "bot-chart"


def test_its_bots_have_the_switch(helm: Helm) -> None:
    """With its own values the program decides; an operator's word is in the pod, and nothing is doubled."""
    for values, mode in (("", []), ("telemetry: {mode: off}", ["off"]), ('telemetry: {mode: "local"}', ["local"])):
        manifests = {one["kind"]: one for one in helm.render(values)}

        container = manifests["Deployment"]["spec"]["template"]["spec"]["containers"][0]
        names = [row["name"] for row in container["env"]]
        assert mode == [row["value"] for row in container["env"] if row["name"] == "BOT_TELEMETRY"]
        assert len(names) == len(set(names))
        assert {"Deployment", "ServiceAccount"} == set(manifests)
    assert 0 == helm.run("lint", "--strict")[0]


def test_the_right_goes_to_its_own_account(helm: Helm) -> None:
    """The ServiceAccount that is bound is the one of the pods."""
    manifests = {one["kind"]: one for one in helm.render("telemetry: {clusterIdentity: true}")}

    account = manifests["ServiceAccount"]["metadata"]["name"]
    assert account == manifests["ClusterRoleBinding"]["subjects"][0]["name"]
    assert account == manifests["Deployment"]["spec"]["template"]["spec"]["serviceAccountName"]


@pytest.mark.parametrize("chart", ["examples/bot-chart", "tests/deploy/chart"])
def test_the_dependency_is_where_it_says(helm: Helm, tmp_path: Path, chart: str) -> None:
    """``helm dependency update`` finds the library chart by the path in Chart.yaml."""
    for folder in ("deploy/helm/otel-usage", chart):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    command = [HELM, "dependency", "update", str(tmp_path / chart), "--skip-refresh"]
    ended = subprocess.run(command, env=helm.environ, capture_output=True, check=False, timeout=60)

    assert 0 == ended.returncode, ended.stderr
    assert ["otel-usage-0.1.0.tgz"] == [path.name for path in (tmp_path / chart / "charts").iterdir()]
