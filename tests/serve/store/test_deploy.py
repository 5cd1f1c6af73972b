"""The files of deploy/: each is what its tool takes it for, and says what the command and its metrics say."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from otel_usage.serve.app import HELP as SERVE_HELP
from otel_usage.serve.app import PREFIX
from otel_usage.serve.command import build_parser
from otel_usage.server.prometheus import HELP
from tests.hosts import ROOT

DEPLOY = ROOT / "deploy"
slow = pytest.mark.skipif(not os.environ.get("OTEL_USAGE_SLOW"), reason="builds tools; set OTEL_USAGE_SLOW=1")


def tool(name: str) -> str:
    """Return the path of a tool; see deploy/tools.sh."""
    ended = subprocess.run(["sh", str(DEPLOY / "tools.sh"), name], capture_output=True, text=True, timeout=1_800)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def check(*command: str, cwd: Path = DEPLOY) -> str:
    """Run *command*, which has to succeed, and return what it says."""
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=cwd)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


def test_the_options_that_are_used_exist() -> None:
    """What the container, the compose file and the unit pass is what `otel-usage serve` takes."""
    entry = next(line for line in (DEPLOY / "Dockerfile").read_text().splitlines() if line.startswith("ENTRYPOINT"))
    words = yaml.safe_load(entry.removeprefix("ENTRYPOINT "))
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    unit = next(
        line for line in (DEPLOY / "otel-usage.service").read_text().splitlines() if line.startswith("ExecStart=")
    )
    started = shlex.split(unit.removeprefix("ExecStart="))

    args = build_parser().parse_args([*words[2:], *compose["services"]["serve"]["command"]])
    unit_args = build_parser().parse_args(started[2:])

    assert (["otel-usage", "serve"], "/run/secrets/tokens") == (words[:2], args.token_file)
    assert ["/opt/otel-usage/bin/otel-usage", "serve"] == started[:2]
    assert "${CREDENTIALS_DIRECTORY}/viewer-tokens" == unit_args.viewer_token_file


def test_alerts_are_about_metrics_that_there_are() -> None:
    """Each metric of ours that a rule names is one that the server publishes."""
    rules = yaml.safe_load((DEPLOY / "alerts.yaml").read_text())["groups"][0]["rules"]
    named = {name for rule in rules for name in re.findall(r"otel_usage_serve_\w+", rule["expr"])}

    assert named
    assert named <= {PREFIX + name for name in (*HELP, *SERVE_HELP)}


def test_each_alert_has_a_test_of_when_it_is_due() -> None:
    """promtool, below, is asked for every alert when it is due, and for none where all is well."""
    rules = yaml.safe_load((DEPLOY / "alerts.yaml").read_text())["groups"][0]["rules"]
    tests = yaml.safe_load((DEPLOY / "alerts-test.yaml").read_text())["tests"]
    due = {case["alertname"] for test in tests for case in test.get("alert_rule_test", ()) if case["exp_alerts"]}

    assert {rule["alert"] for rule in rules} == due
    assert any(test.get("promql_expr_test") for test in tests)


def test_the_unit_is_sound() -> None:
    """systemd has no word against it, where there is systemd."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze")
    text = (DEPLOY / "otel-usage.service").read_text().replace("/opt/otel-usage/bin/otel-usage", "/bin/true")
    folder = ROOT / "build" / "unit"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "otel-usage.service").write_text(text)

    said = check("systemd-analyze", "verify", "--man=no", str(folder / "otel-usage.service"))

    assert "otel-usage.service" not in said


@slow
def test_the_dockerfile_is_sound() -> None:
    """The validator that editors use has no word against it."""
    program = (
        "const {validate} = require(process.argv[1]); const fs = require('fs');"
        "console.log(JSON.stringify(validate(fs.readFileSync(process.argv[2], 'utf8')).map(one => one.message)))"
    )

    assert "[]" == check("node", "-e", program, tool("dockerfile"), str(DEPLOY / "Dockerfile")).strip()


@slow
def test_the_compose_file_is_sound() -> None:
    """Compose's own loader takes it."""
    assert "otel-usage" in check(tool("compose"), str(DEPLOY / "compose.yaml"))


@slow
def test_the_alerts_fire() -> None:
    """promtool takes the rules, and they fire when they should."""
    promtool = tool("promtool")

    assert "SUCCESS" in check(promtool, "check", "rules", "alerts.yaml")
    assert "SUCCESS" in check(promtool, "test", "rules", "alerts-test.yaml")
