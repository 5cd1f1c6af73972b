"""A shell that asks a program what may come next: it is answered, nothing is left behind, and nothing of ours is loaded."""

from __future__ import annotations

import pytest

from ..hosts import Host

HEAD = """
import atexit, os, sys
real = os._exit
def leave(status=0):
    ours = sorted(name for name in sys.modules if name.startswith("otel_usage") and "consent.gate" not in name)
    open("loaded", "w").write(" ".join(ours) + f" {sys.exit is exit_before}")
os._exit = lambda status: (leave(), real(status))
atexit.register(leave)
exit_before = sys.exit
if os.environ.get("PROG_TELEMETRY"):
    import otel_usage
    otel_usage.init("prog", version="1", consent="opt-in")
"""
PROGRAMS = {
    "argcomplete": """
import argparse, argcomplete
parser = argparse.ArgumentParser("prog")
commands = parser.add_subparsers()
commands.add_parser("report"), commands.add_parser("other")
argcomplete.autocomplete(parser)
parser.parse_args()
""",
    "click": """
import click
@click.group()
def cli(): pass
cli.command("report")(lambda: None)
cli.command("other")(lambda: None)
cli(prog_name="prog")
""",
    "typer": """
import typer
app = typer.Typer()
app.command("report")(lambda: None)
app.command("other")(lambda: None)
app(prog_name="prog")
""",
}
ASKED = {
    "argcomplete": {"_ARGCOMPLETE": "1", "COMP_LINE": "prog re", "COMP_POINT": "7", "_ARGCOMPLETE_IFS": " "},
    "click": {"_PROG_COMPLETE": "bash_complete", "COMP_WORDS": "prog re", "COMP_CWORD": "1"},
    "typer": {"_PROG_COMPLETE": "complete_bash", "COMP_WORDS": "prog re", "COMP_CWORD": "1"},
}


@pytest.mark.parametrize("framework", PROGRAMS)
def test_a_completion_is_answered_and_nothing_else(host: Host, framework: str) -> None:
    """The same answer as without us; no file, no module of ours but the front door, and sys.exit is the program's own."""
    pytest.importorskip(framework)
    answers, work = [], host.tmp / "work"
    for mode in (None, "on"):
        env = {**ASKED[framework], "PROG_TELEMETRY": mode, "_ARGCOMPLETE_STDOUT_FILENAME": str(work / "answer")}
        ended = host.run(HEAD + PROGRAMS[framework], env=env)
        answers.append((ended, (work / "answer").read_bytes() if framework == "argcomplete" else b""))

    assert answers[0] == answers[1]
    assert b"report" in answers[1][0].out + answers[1][1], answers
    assert not host.spool.exists()
    assert {"otel_usage", "True"} >= {*(work / "loaded").read_text().split()} - {
        "otel_usage.spool",
        "otel_usage.aliases",
    } - {
        "otel_usage.consent",
        "otel_usage.spool.layout",
    }


@pytest.mark.parametrize(
    ("main", "ending"),
    [
        # As dvc: a code of the program's own stands for what argparse has refused. What that means nobody says.
        ("try: parser.parse_args()\n except SystemExit: return 254", (254, "failure", "SystemExit")),
        ("try: parser.parse_args()\n except SystemExit as e: return e.code", (2, "usage_error", "SystemExit")),
        ("try: parser.parse_args()\n except SystemExit: return 0", (0, "success", None)),
        # Of help nothing is left but a 0, as of any success: a program that reads commands line by line may go on for hours.
        ("try: parser.parse_args(['-h'])\n except SystemExit as e: return e.code", (0, "success", None)),
    ],
)
def test_a_program_that_catches_the_parsers_end(host: Host, main: str, ending: tuple[object, ...]) -> None:
    """The exit code is what the parent sees; a usage error is one where its status is passed on."""
    source = "import argparse, sys, otel_usage\notel_usage.init('prog', version='1', consent='opt-in')\n"
    source += f"parser = argparse.ArgumentParser()\ndef main():\n {main}\nsys.exit(main())\n"
    ended = host.run(source, "--nonsense")

    assert ending[0] == ended.status
    assert ending == host.the_run.ending
