"""What the chart mounts, as a pod's user has it: a folder of root's, in which anybody may write."""

from __future__ import annotations

import os
from pathlib import Path

import yaml

from ..hosts import ROOT, Host
from ..recording.test_service_small_pod import ROOT_ONLY, run

USER = 54_321


def folder_of_the_chart() -> Path:
    """Return OTEL_USAGE_HOME below the place where the volume is mounted."""
    text = (ROOT / "deploy" / "helm" / "otel-usage" / "templates" / "_usage.tpl").read_text()
    home = next(line for line in text.split("\n") if line.endswith("/state")).partition("value: ")[2]
    place = text.partition('"mountPath" "')[2].partition('"')[0]
    return Path(home).relative_to(place)


@ROOT_ONLY
def test_a_pod_without_rights_records_in_an_empty_volume(host: Host, tmp_path: Path) -> None:
    """Its user makes a folder of its own in the volume, which another user made; the log says that it is on."""
    volume = tmp_path / "volume"
    volume.mkdir()
    volume.chmod(0o2777)
    for path in (host.tmp, *list(host.tmp.parents)[:-2]):
        if os.stat(path).st_mode & 0o005 != 0o005 and str(path).startswith("/tmp"):
            os.chmod(path, os.stat(path).st_mode | 0o055)
    before = f"os.setgid({USER}); os.setuid({USER})\n"
    status, _, err = run(host, before, OTEL_USAGE_HOME=str(volume / folder_of_the_chart()))

    assert (3, 1) == (status, err.count(b"\n")), err
    assert b"usage data is on" in err
    starts = list((volume / folder_of_the_chart() / "prog" / "1" / "starts").iterdir())
    assert [USER] == [path.stat().st_uid for path in starts]


def test_no_value_has_a_default_that_means_something() -> None:
    """A chart that takes the library in changes nothing of what the program's own default says."""
    values = yaml.safe_load((ROOT / "deploy" / "helm" / "otel-usage" / "values.yaml").read_text())

    assert {"mode", "destination", "installationId", "clusterIdentity", "proxy", "caBundle"} == set(values)
    assert not any(values.values())
