"""A chat bot with plugins, which answers what is posted to it: a service. Its chart is in bot-chart/.

BOT_PLUGINS=dice,echo python bot.py 8080 &
curl --data '!roll 6' http://127.0.0.1:8080
"""

import os
import random
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import otel_usage

# Each plugin, and what it answers to: {plugin: {verb: function of the rest of the message}}.
PLUGINS = {
    "dice": {"roll": lambda rest: str(random.randint(1, int(rest or 6)))},
    "echo": {"say": lambda rest: rest, "shout": lambda rest: rest.upper()},
    "poll": {"ask": lambda rest: f"{rest}? yes / no"},
}
VERBS = sorted(verb for plugin in PLUGINS.values() for verb in plugin)

usage = otel_usage.init(
    "bot",
    version="2.1.0",
    consent="opt-out",
    service=True,
    about="https://bot.example.org/telemetry",
    schema={
        "alive": {
            "kind": "heartbeat",
            "why": "which plugins run, and in how large teams, to know what to work on",
            "fields": {
                "plugins": otel_usage.several([*sorted(PLUGINS), "other"]),
                "people": otel_usage.bucket("people", 1, 10, 100),
            },
        },
        "commands.handled": {
            "kind": "count",
            "why": "which commands are used: the verb alone, never what follows",
            "fields": {"verb": [*VERBS, "other"]},
        },
        "command.failed": {"kind": "error", "why": "which commands confuse people", "fields": {"verb": VERBS}},
        "plugin.unknown": {"kind": "error", "why": "do people look for plugins that there are none of?"},
    },
)

enabled = [name for name in os.environ.get("BOT_PLUGINS", "dice,echo").split(",") if name]
people: set[str] = set()
usage.snapshot(lambda: {"plugins": enabled, "people": len(people)})


def answer(message: str) -> str:
    """Return what the bot says to *message*."""
    verb, _, rest = message.removeprefix("!").strip().partition(" ")
    for plugin in enabled:
        act = PLUGINS.get(plugin, {}).get(verb)
        if act is not None:
            usage.count("commands.handled", verb=verb)
            try:
                return act(rest)
            except ValueError:
                usage.error("command.failed", verb=verb)
                return f"I can't {verb} that."
    usage.count("commands.handled", verb="other")
    return "I know " + ", ".join(verb for plugin in enabled for verb in PLUGINS.get(plugin, ()))


class Chat(BaseHTTPRequestHandler):
    """One message a request; who wrote it is in the header From."""

    def do_POST(self) -> None:
        """Answer."""
        people.add(self.headers.get("From", ""))
        text = answer(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: a log of messages is nobody's business."""


def main(port: int) -> None:
    """Serve until somebody says stop."""
    for name in enabled:
        if name not in PLUGINS:
            usage.error("plugin.unknown")
    # Kubernetes says SIGTERM. As process 1 a program that does not listen is killed half a minute later.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = ThreadingHTTPServer(("", port), Chat)
    print(f"bot: listening on {server.server_address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 8080)
