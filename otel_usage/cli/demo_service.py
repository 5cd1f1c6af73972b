"""The service of ``otel-usage demo``: a bot that is started, talked to and stopped, as an operator does it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from .demo_report import print_paragraph

MESSAGES = ("!roll 6", "!say open sesame", "!roll sesame", "where is kassim")
KINDS = {
    "start",
    "error",
    "stop",
}  # of spans, that it records in so short a life; a heartbeat is due after five minutes
ANSWER_S = 30.0


def run_service(program: Path, work: Path, environ: Mapping[str, str]) -> None:
    """Start the bot in the folder *work*, post `MESSAGES` to it, stop it, and send what it recorded; print what is done.

    What does not work is seen by what does not arrive.
    """
    print_paragraph(
        "\nAnd a service, which tells of its start and end, counts the verbs that it handled, and its errors:\n"
    )
    command = [sys.executable, str(program), "0"]
    bot = subprocess.Popen(
        command,
        cwd=work,
        env=dict(environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # as supervisors do: the demo is no part of the service
    )
    try:
        assert bot.stdout is not None
        port = re.findall(r"\d+", bot.stdout.readline())
        for message in MESSAGES if port else ():
            request = urllib.request.Request(f"http://127.0.0.1:{port[0]}", message.encode(), {"From": "kassim"})
            # To this machine whatever proxy the variables name.
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(request, timeout=ANSWER_S) as answer:
                print_paragraph(f"  > {message}".ljust(40) + answer.read().decode())
        bot.send_signal(signal.SIGTERM)
        bot.communicate(timeout=ANSWER_S)
    except (OSError, subprocess.TimeoutExpired) as exc:
        print_paragraph(f"  the bot did not answer: {exc}")
    finally:
        bot.kill()
        bot.communicate()
    send = [sys.executable, "-m", "otel_usage", "send", "--app", "bot"]
    subprocess.run(send, cwd=work, env=dict(environ), capture_output=True, check=False)
