"""Which AI agent runs the program: from the environment, of a closed list, and never a reason to record."""

from __future__ import annotations

import pytest

from otel_usage.consent.gate import decide
from otel_usage.recording.agent import AGENT_VARIABLES, AGENTS, find_agent
from otel_usage.schema.attributes import CHECKS

from ..hosts import Host
from ..users import User

ENVIRONMENTS: list[tuple[dict[str, str], str]] = [
    ({}, ""),
    ({"CLAUDECODE": "1"}, "claude-code"),
    ({"CLAUDECODE": "1", "AGENT": "amp"}, "amp"),
    ({"CLAUDECODE": "1", "AMP_CURRENT_THREAD_ID": "T-1"}, "amp"),
    ({"CLAUDECODE": "1", "CLAUDE_CODE_IS_COWORK": "1"}, "cowork"),
    ({"CLAUDECODE": "0"}, ""),
    ({"CLAUDECODE": ""}, ""),
    ({"CLAUDECODE": "0", "CODEX_SANDBOX": "seatbelt"}, "codex"),
    ({"AI_AGENT": "claude-code_2-1-247_agent"}, "claude-code"),
    ({"AI_AGENT": "devin@1"}, "devin"),
    ({"AI_AGENT": "Gemini-CLI/0.9"}, "gemini"),
    ({"AI_AGENT": "ada@example.org"}, "other"),
    ({"AI_AGENT": "pixie"}, "other"),
    ({"AI_AGENT": "\udcff"}, "other"),
    ({"AI_AGENT": "false"}, ""),
    ({"AGENT": "goose"}, "goose"),
    ({"AGENT": "jenkins-7"}, ""),
    ({"AGENT": "1"}, "other"),
    ({"AGENT": "1", "CRUSH": "1"}, "crush"),
    ({"CURSOR_EXTENSION_HOST_ROLE": "agent-exec"}, "cursor"),
    ({"CURSOR_EXTENSION_HOST_ROLE": "user"}, ""),
    (
        {"CURSOR_TRACE_ID": "x", "REPL_ID": "x", "GOOSE_PROVIDER": "x", "COPILOT_MODEL": "x", "TERM_PROGRAM": "vscode"},
        "",
    ),
]


@pytest.mark.parametrize(("environ", "agent"), ENVIRONMENTS, ids=repr)
def test_the_agent_is_recorded(host: Host, environ: dict[str, str], agent: str) -> None:
    """Of the first variable that tells one; free text only as far as it is in the list."""
    host.run("argparse_program.py", "do", "pass", env=environ)

    assert agent == host.the_run.attributes.get("usage.agent", "")
    assert "cli" == host.the_run.attributes["usage.surface"]


class WindowsEnviron(dict):
    """`os.environ` as Windows keeps it: in capitals, and in texts, not in bytes."""

    def __init__(self, environ: dict[str, str]) -> None:
        super().__init__(environ)
        self._data = {name.upper(): text for name, text in environ.items()}


@pytest.mark.parametrize(("environ", "agent"), ENVIRONMENTS, ids=repr)
def test_the_agent_is_seen_on_windows(environ: dict[str, str], agent: str) -> None:
    """There the environment's names are texts."""
    assert agent == find_agent(WindowsEnviron({"Path": "x", **environ}), tty=False)


@pytest.mark.parametrize(
    ("environ", "vendor"), [({}, ""), ({"GITHUB_ACTIONS": "true"}, "github"), ({"ci": "1"}, "other")]
)
def test_ci_is_seen_on_windows(environ: dict[str, str], vendor: str) -> None:
    """As an agent is, whatever the names are kept as."""
    windows = WindowsEnviron({"LOCALAPPDATA": "x", **{name.upper(): text for name, text in environ.items()}})

    assert vendor == decide("prog", "opt-in", 1, windows).ci


def test_a_terminal_makes_agent_1_a_persons() -> None:
    """Somebody who reads the output may have set so general a variable for another program."""
    assert ("other", "") == tuple(find_agent({b"AGENT": b"1"}, tty) for tty in (False, True))


def test_whatever_is_recorded_may_be_sent() -> None:
    """The allow-list takes all labels, and nothing else."""
    labels = {find_agent({variable: b"1"}, tty=False) for variable in AGENT_VARIABLES} - {""}

    assert labels <= {*AGENTS, "other"}
    assert all(CHECKS["run"]["usage.agent"](label) for label in (*AGENTS, "other"))
    assert not CHECKS["run"]["usage.agent"]("ada")
    assert CHECKS["run"]["usage.surface"]("service")


@pytest.mark.parametrize("consent", ["opt-out", "ask"])
def test_an_agent_is_neither_asked_nor_has_it_seen_a_notice(user: User, consent: str) -> None:
    """On an agent's terminal nothing is shown and nothing stored; the person's next run shows it."""
    source = f"import otel_usage\notel_usage.init('prog', version='1', consent='{consent}')\n"

    agents = user.on_terminal(program=source, CLAUDECODE="1")
    kept = user.kept
    persons = user.on_terminal(program=source, typed="n\n")

    assert (0, b"", []) == (agents.status, agents.out, kept)
    assert b"prog" in persons.out
    assert user.choice[0] in ("noticed", "off", "asked")
    assert [] == user.files()


def test_an_agents_environment_is_no_consent(user: User) -> None:
    """Nothing is recorded because of it."""
    for variable in AGENT_VARIABLES:
        user.prog(**{variable.decode(): "1"})

    assert [] == user.kept
