"""The library chart says the same to every kind of workload, and what is rendered is what Kubernetes takes."""

from __future__ import annotations

from typing import Any

import pytest

from ..hosts import ROOT
from .conftest import Helm

CHART = ROOT / "tests" / "deploy" / "chart"
KINDS = ["CronJob", "DaemonSet", "Deployment", "Job", "StatefulSet"]
HOME = ("OTEL_USAGE_HOME", "/var/lib/otel-usage/state")
# (what an operator writes, what the program gets, whether anything else is rendered)
MODES = [
    ("on", "on"), ('"on"', "on"), ("true", "on"), ('"true"', "on"), ("yes", "on"), ("1", "on"), ('"1"', "on"),
    ("off", "off"), ('"off"', "off"), ("false", "off"), ('"false"', "off"), ("no", "off"), ("0", "off"), ('"0"', "off"),
    ("local", "local"), ('"log"', "log"), ('""', None), ("null", None), ("", None),
]  # fmt: skip
EVERYTHING = """
telemetry:
  mode: {mode}
  destination: https://usage.example.org
  installationId: "007"
  clusterIdentity: {cluster}
  proxy: http://proxy.example.org:3128
  caBundle: company-ca
"""


def pod_of(manifest: dict[str, Any]) -> dict[str, Any]:
    spec = manifest["spec"]
    pod: dict[str, Any] = spec.get("jobTemplate", {}).get("spec", spec)["template"]["spec"]
    return pod


def workloads(manifests: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return {kind: pod}; there is one of each kind."""
    pods = {one["kind"]: pod_of(one) for one in manifests if one["kind"] in KINDS}
    assert KINDS == sorted(pods)
    return pods


def variables(container: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(row["name"], row.get("value")) for row in container.get("env", []) if row["name"] != "TOKEN"]


def kinds(manifests: list[dict[str, Any]]) -> list[str]:
    return sorted(one["kind"] for one in manifests if one["kind"] not in [*KINDS, "ConfigMap"])


def test_it_is_in_order(helm: Helm) -> None:
    """``helm lint --strict`` says nothing, with nothing set, and with everything."""
    for values in ("", EVERYTHING.format(mode="on", cluster="true")):
        status, text = helm.run("lint", "--strict", values=values)

        assert 0 == status, text
        assert "[WARNING]" not in text, text


@pytest.mark.parametrize(("written", "mode"), MODES)
def test_the_switch_reaches_every_workload(helm: Helm, written: str, mode: str | None) -> None:
    """However it is written: quoted, or one of YAML's truth values. In every container of every kind."""
    pods = workloads(helm.render(f"telemetry:\n  mode: {written}\n"))

    expected = [] if mode is None else [("MY_BOT_TELEMETRY", mode)]
    expected += [] if mode == "off" else [HOME]
    for pod in pods.values():
        assert [expected, expected] == [variables(container) for container in pod["containers"]]
        assert (mode != "off") == any(
            "/var/lib/otel-usage" == m["mountPath"] for m in pod["containers"][0]["volumeMounts"]
        )


@pytest.mark.parametrize("written", ["on", "off", "true", "false", "0", "1"])
def test_the_switch_on_the_command_line(helm: Helm, written: str) -> None:
    """``--set telemetry.mode=off``, which is text there, and =false, which is none."""
    pods = workloads(helm.render("", "--set", f"telemetry.mode={written}"))

    mode = "on" if written in ("on", "true", "1") else "off"
    assert {mode} == {dict(variables(c))["MY_BOT_TELEMETRY"] for pod in pods.values() for c in pod["containers"]}


def test_everything_at_once(helm: Helm) -> None:
    """Each value is a variable, a volume or a right, in every kind; what was there stays."""
    manifests = helm.render(EVERYTHING.format(mode="on", cluster="true"))

    expected = [
        ("MY_BOT_TELEMETRY", "on"),
        HOME,
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://usage.example.org"),
        ("MY_BOT_INSTALLATION_ID", "007"),
        ("MY_BOT_CLUSTER_IDENTITY", "true"),
        ("HTTPS_PROXY", "http://proxy.example.org:3128"),
        ("NO_PROXY", "localhost,127.0.0.1,.svc,.cluster.local,$(KUBERNETES_SERVICE_HOST)"),
        ("REQUESTS_CA_BUNDLE", "/etc/otel-usage-ca/ca.crt"),
    ]
    for kind, pod in workloads(manifests).items():
        own = "state" if kind == "StatefulSet" else "otel-usage"
        mounts = [(m["name"], m["mountPath"]) for m in pod["containers"][0]["volumeMounts"]]
        assert expected == variables(pod["containers"][0])
        assert [("config", "/etc/bot"), (own, "/var/lib/otel-usage"), ("otel-usage-ca", "/etc/otel-usage-ca")] == mounts
        volumes = [volume["name"] for volume in pod["volumes"]]
        assert ["config", *([] if own == "state" else [own]), "otel-usage-ca"] == volumes
        assert 1_000_650_000 == pod["securityContext"]["runAsUser"]
        assert "TOKEN" == pod["containers"][0]["env"][0]["name"]
    assert ["ClusterRole", "ClusterRoleBinding", "ServiceAccount"] == kinds(manifests)


def test_off_leaves_nothing_else(helm: Helm) -> None:
    """Whatever else is set: no address, no volume, no right."""
    manifests = helm.render(EVERYTHING.format(mode="off", cluster="true"))

    for pod in workloads(manifests).values():
        assert [("MY_BOT_TELEMETRY", "off")] == variables(pod["containers"][0])
        assert ["config"] == [volume["name"] for volume in pod["volumes"]]
    assert ["ServiceAccount"] == kinds(manifests)


@pytest.mark.parametrize("written", ["false", '"false"', "no", '"off"', '""', "null", "0"])
def test_no_right_unless_it_is_wanted(helm: Helm, written: str) -> None:
    """A quoted false is a false."""
    manifests = helm.render(EVERYTHING.format(mode="on", cluster=written))

    assert ["ServiceAccount"] == kinds(manifests)
    assert "MY_BOT_CLUSTER_IDENTITY" not in dict(variables(workloads(manifests)["Job"]["containers"][0]))


def test_the_right_is_for_one_namespace_alone(helm: Helm) -> None:
    """To get kube-system: no list, no other name, no other resource; for the ServiceAccount of the workload."""
    manifests = {one["kind"]: one for one in helm.render('telemetry: {clusterIdentity: "true"}')}

    rule = {"apiGroups": [""], "resources": ["namespaces"], "resourceNames": ["kube-system"], "verbs": ["get"]}
    assert [rule] == manifests["ClusterRole"]["rules"]
    assert [{"kind": "ServiceAccount", "name": "my-bot", "namespace": "space"}] == manifests["ClusterRoleBinding"][
        "subjects"
    ]
    assert manifests["ClusterRole"]["metadata"]["name"] == manifests["ClusterRoleBinding"]["roleRef"]["name"]


def test_what_the_chart_has_said_itself_stays(helm: Helm) -> None:
    """A variable is in a container once; a number is text."""
    pods = workloads(helm.render('own: "off"\ntelemetry: {mode: on, installationId: 12345678}'))

    for pod in pods.values():
        rows = variables(pod["containers"][0])
        assert ("MY_BOT_TELEMETRY", "off") == rows[0]
        assert len(rows) == len(dict(rows))
        assert "12345678" == dict(rows)["MY_BOT_INSTALLATION_ID"]


def test_only_the_containers_that_are_named(helm: Helm) -> None:
    """A sidecar is left alone."""
    for pod in workloads(helm.render("only: [bot]\ntelemetry: {mode: on}")).values():
        assert [2, 0] == [len(variables(container)) for container in pod["containers"]]
        assert "volumeMounts" not in pod["containers"][1]


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ("mode: maybe", "mode"), ("mode: 2", "mode"), ("mode: [on]", "mode"),
        ("destination: http://usage.example.org", "destination"), ("destination: usage.example.org", "destination"),
        ("destination: true", "destination"), ("installationId: {a: b}", "installationId"),
        ("clusterIdentity: perhaps", "clusterIdentity"), ("proxy: proxy.example.org", "proxy"),
        ("caBundle: /etc/ca.crt", "caBundle"), ("enabled: false", "enabled"), ("Mode: off", "Mode"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused(helm: Helm, values: str, place: str) -> None:
    """By the schema, before anything is rendered; a misspelled switch too. It says which value."""
    status, text = helm.run("template", values=f"telemetry:\n  {values}\n")

    assert 1 == status, text
    assert place in text.partition("telemetry")[2]


def test_the_notes(helm: Helm) -> None:
    """They say the state, how to see what is sent, and how to switch it off."""
    for mode, expected in (("on", "my-bot: on."), ("off", "my-bot: off."), ('""', "my-bot: as the program's own")):
        manifests = helm.render(f"telemetry: {{mode: {mode}}}")
        notes = next(one["data"]["notes"] for one in manifests if one["kind"] == "ConfigMap")

        assert expected in notes
        assert (mode != "off") == ("kubectl exec -n space deployment/my-bot -- python -m otel_usage preview" in notes)
        assert (mode != "off") == ("--set telemetry.mode=off" in notes)
