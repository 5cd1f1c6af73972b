"""Say which AI agent runs the program, from the environment alone: no file is looked at, and no process.

One row per variable, in the order in which they are asked. Sources, read 2026-11-26: GitHub CLI and Vercel's detect-agent
(their lists), agents.md#136, am-i-vibing, and what the agents set themselves. A variable that a person's own terminal has too,
or that is a user's setting, is no sign of an agent: CURSOR_TRACE_ID, REPL_ID, GOOSE_PROVIDER, COPILOT_MODEL, TERM_PROGRAM.
docs/schema.md shows the table. An agent's environment is never consent, and never "the notice was seen".

Every recorded run loads it, in the file that it loads anyway: loaded by itself, where one of the variables is set, it would cost
each run of an agent 0.25 M instructions.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

# {variable: the agent that sets it}; those marked "=" are asked for their value.
AGENT_VARIABLES = {
    b"AI_AGENT": "=",  # name[@version], by whoever follows the proposal; Claude Code: claude-code_2-1-247_agent
    b"AGENT": "=",  # amp, goose, crush, or 1; a generic name that other programs set, too
    b"AMP_CURRENT_THREAD_ID": "amp",  # before CLAUDECODE, which Amp sets as well
    b"CLAUDE_CODE_IS_COWORK": "cowork",  # before CLAUDECODE, which Cowork sets as well
    b"CLAUDECODE": "claude-code",
    b"CLAUDE_CODE": "claude-code",
    b"CODEX_THREAD_ID": "codex",
    b"CODEX_SANDBOX": "codex",
    b"CODEX_CI": "codex",
    b"GEMINI_CLI": "gemini",
    b"QWEN_CODE": "qwen",
    b"CURSOR_AGENT": "cursor",
    b"CURSOR_EXTENSION_HOST_ROLE": "=",  # agent-exec
    b"OPENCODE": "opencode",
    b"OPENCODE_CLIENT": "opencode",
    b"COPILOT_CLI": "copilot",
    b"ANTIGRAVITY_AGENT": "antigravity",
    b"AUGMENT_AGENT": "augment",
    b"CRUSH": "crush",
    b"PI_CODING_AGENT": "pi",
    b"OZ_RUN_ID": "warp",
}
# The closed list, besides "other"; AI_AGENT is free text, and what it says is sent only if it is one of these.
AGENTS = (
    "amp", "antigravity", "augment", "claude-code", "codex", "copilot", "cowork", "crush", "cursor", "devin", "gemini", "goose",
    "kilo", "opencode", "pi", "qwen", "warp",
)  # fmt: skip


def find_agent(environ, tty):
    # type: (Mapping[str, str] | Mapping[bytes, bytes], bool) -> str
    """Return the agent that *environ* tells of, one of `AGENTS` or ``other``; "" if none is seen.

    tty: somebody may be reading: then ``AGENT=1`` is no sign of an agent.
    """
    raw: Any = getattr(environ, "_data", environ)  # asking os.environ itself costs ten times as much
    if type(next(iter(raw), b"")) is str:  # as Windows keeps it, and a plain dict
        raw = {name.encode("utf-8", "replace"): text.encode("utf-8", "replace") for name, text in raw.items()}
    if AGENT_VARIABLES.keys().isdisjoint(raw.keys()):
        return ""
    unnamed = ""
    for variable, agent in AGENT_VARIABLES.items():
        text: str = raw.get(variable, b"").decode("ascii", "replace").strip().lower()
        if text in ("", "0", "false", "no", "off"):
            continue
        if agent != "=":
            return agent
        if variable == b"AI_AGENT":
            for separator in "@_/ ":
                text = text.partition(separator)[0]
            for name in AGENTS:
                if text == name or text.startswith(name + "-"):
                    return name
            return "other"
        if variable == b"AGENT" and text in ("amp", "goose", "crush"):
            return text
        if variable == b"AGENT" and text == "1" and not tty:
            unnamed = "other"
        elif text == "agent-exec" and variable == b"CURSOR_EXTENSION_HOST_ROLE":
            return "cursor"
    return unnamed
