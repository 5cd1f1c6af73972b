"""``otel-usage relay``: read the command line and the environment, and serve until it is to stop.

What needs the extra ``[relay]`` is imported in `main` alone, which says what to install if it is missing.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import ssl
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from otel_usage.setting_error import SettingError
from otel_usage.settings.endpoint import is_loopback

from .options import MIB, Options, explain_error, read_schema, read_tokens

MAX_DEADLINE_S = 3_600
TOKEN = "OTEL_USAGE_RELAY_TOKEN"  # noqa: S105  the variable's name
LIMITS = ("body_mib", "decoded_mib", "held_mib", "items", "waiting", "deadline_s", "window")

log = logging.getLogger("otel_usage.relay")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of ``otel-usage relay``."""
    default = Options()
    parser = argparse.ArgumentParser(
        prog="otel-usage relay",
        description="Receive usage data over OTLP/HTTP, at /v1/traces and /v1/metrics, and deliver it to GA4, Segment, an "
        "OTLP backend and other exporters: to all that are named. Each is configured by its own variables, such as "
        "OTEL_EXPORTER_GA4_MEASUREMENT_ID; see docs/relay.md.",
    )
    parser.add_argument(
        "destinations",
        nargs="+",
        metavar="DESTINATION",
        help="an exporter: ga4, segment, otlp; POST /DESTINATION/v1/traces is for one alone",
    )
    parser.add_argument("--listen", default="127.0.0.1:4319", metavar="HOST:PORT", help="default: %(default)s")
    parser.add_argument(
        "--token-file", metavar="FILE", help=f"bearer tokens, one a line; also {TOKEN} in the environment"
    )
    parser.add_argument("--tls-cert", metavar="FILE", help="certificate chain, PEM")
    parser.add_argument("--tls-key", metavar="FILE", help="its private key, PEM")
    parser.add_argument(
        "--schema", action="append", default=[], metavar="APP=FILE", help="pass only what this app declares; repeatable"
    )
    parser.add_argument(
        "--state",
        default="",
        metavar="FOLDER",
        help="keep there what GA4 was sent, and sessions and traits of "
        "installations, so that a restart repeats and forgets nothing",
    )
    limits = add_limits(parser, default)
    limits.add_argument("--workers", type=int, default=default.workers, help="deliveries at a time, per destination")
    explain_limits(limits)
    return parser


def add_limits(parser: argparse.ArgumentParser, default: Options) -> argparse._ArgumentGroup:
    """Add the options about limits to *parser*, with the values of *default*: `read_limits` reads them. Return their group."""
    limits = parser.add_argument_group("limits")
    limits.add_argument("--body-mib", type=float, default=default.body_bytes / MIB, help="of a request, as it comes")
    limits.add_argument("--decoded-mib", type=float, default=default.decoded_bytes / MIB, help="and decompressed")
    limits.add_argument("--held-mib", type=float, default=default.held_bytes / MIB, help="of all requests together")
    limits.add_argument("--items", type=int, default=default.items, help="spans or data points of a request")
    limits.add_argument("--waiting", type=int, default=default.waiting, help="requests waiting, per destination")
    limits.add_argument("--deadline-s", type=float, default=default.deadline_s, help="until a request is answered")
    limits.add_argument("--window", type=int, default=default.window, help="event ids remembered, per destination")
    return limits


def explain_limits(limits: argparse._ArgumentGroup) -> None:
    """Have the help of each limit say its default."""
    for action in limits._group_actions:
        action.help = f"{action.help}; default: %(default)g"
        action.metavar = "N"


def read_options(args: argparse.Namespace) -> Options:
    """Return what the command line and the environment say. Raises SettingError."""
    options = replace(read_limits(args, ("workers",)), workers=args.workers)
    tokens: tuple[str, ...] = ()
    if text := os.environ.get(TOKEN, ""):
        tokens = read_tokens(text, TOKEN)
    if args.token_file:
        text = read_token_file("--token-file", args.token_file)
        tokens += read_tokens(text, f"--token-file {args.token_file!r}")
    return replace(options, tokens=tokens)


def read_token_file(option: str, path: str) -> str:
    """Return what the file of *option* holds. Raises SettingError."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as exc:
        raise SettingError(f"{option} {path!r} can't be read: {explain_error(exc)}") from exc


def read_limits(args: argparse.Namespace, more: Sequence[str] = ()) -> Options:
    """Return what the command line says of limits and schemas. more: a command's own numbers above 0. Raises SettingError."""
    for name in (*LIMITS, *more):
        if not 0 < getattr(args, name) < math.inf:
            raise SettingError(f"--{name.replace('_', '-')} {getattr(args, name)!r} is not a number above 0")
    if args.deadline_s > MAX_DEADLINE_S:
        raise SettingError(f"--deadline-s {args.deadline_s:g} is more than {MAX_DEADLINE_S}: no client waits as long")
    if bool(args.tls_cert) != bool(args.tls_key):
        raise SettingError("--tls-cert and --tls-key go together: give both, or neither")
    options = Options(
        schemas=dict(map(read_schema, args.schema)),
        body_bytes=int(args.body_mib * MIB),
        decoded_bytes=int(args.decoded_mib * MIB),
        held_bytes=int(args.held_mib * MIB),
        items=args.items,
        waiting=args.waiting,
        deadline_s=args.deadline_s,
        window=args.window,
    )
    # Together they may hold one request of the largest size, or none could ever be read.
    return replace(options, held_bytes=max(options.held_bytes, options.decoded_bytes, options.body_bytes))


def read_address(text: str) -> tuple[str, int]:
    """Return (host, port) of ``HOST:PORT``. Raises SettingError.

    >>> read_address("[::1]:4319")
    ('::1', 4319)
    """
    host, colon, port = text.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and int(port) < 65_536):
        raise SettingError(f"--listen {text!r} is not HOST:PORT, such as 127.0.0.1:4319 or 0.0.0.0:4319")
    return host.strip("[]"), int(port)


def read_names(words: Sequence[str]) -> list[str]:
    """Return the destinations that *words* name. Raises SettingError if there is none, or one comes twice.

    >>> read_names(["ga4,segment", "otlp"])
    ['ga4', 'segment', 'otlp']
    """
    names = [name.strip() for word in words for name in word.split(",") if name.strip()]
    if not names:
        raise SettingError("no destination is named: give one or more, such as ga4 segment")
    for name in names:
        if names.count(name) > 1:
            raise SettingError(f"destination {name!r} is named twice: a relay has one of each, on a path of that name")
    return names


def load_tls(cert: str | None, key: str | None) -> ssl.SSLContext | None:
    """Return what TLS with these files needs, None without both. Raises SettingError."""
    if not cert or not key:
        return None
    for option, path in (("--tls-cert", cert), ("--tls-key", key)):
        try:
            Path(path).read_bytes()
        except OSError as exc:
            raise SettingError(f"{option} {path!r} can't be read: {explain_error(exc)}") from exc

    def refuse_password() -> str:
        # OpenSSL asks for a password when the key is encrypted. A service has nobody who could type it.
        raise SettingError(f"--tls-key {key!r} is encrypted: decrypt it, such as with openssl pkey")

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.options |= ssl.OP_NO_RENEGOTIATION  # else a client of TLS 1.2 could have us compute on and on
    try:
        context.load_cert_chain(cert, key, refuse_password)
    except ssl.SSLError as exc:
        problem = f"--tls-cert {cert!r} and --tls-key {key!r} are not a certificate chain and its key"
        raise SettingError(f"{problem}, both PEM: {exc.reason or exc}") from exc
    return context


def warn_if_open(into: logging.Logger, host: str, *, tokens: bool, tls: bool) -> None:
    """Say *into* a log what a server lacks that others reach. tokens, tls: it asks senders for a token; it speaks TLS."""
    lacking = [what for what, there in (("a token of clients", tokens), ("TLS", tls)) if not there]
    if lacking and not is_loopback(host):
        into.warning("listening beyond this machine without %s", ", without ".join(lacking))


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return 0 then, 2 if an option is wrong, 1 if the server can't start."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    log.setLevel(logging.INFO)
    try:
        from .app import make_app
        from .http_server import build_http_server
        from .workers import load_destination
    except ImportError as exc:
        print(f"otel-usage relay: {exc.name} is missing: pip install 'otel-usage[relay]'", file=sys.stderr)
        return 2
    try:
        options = read_options(args)
        host, port = read_address(args.listen)
        names = read_names(args.destinations)
        tls = load_tls(args.tls_cert, args.tls_key)
        destinations = [
            load_destination(name, window=options.window, workers=options.workers, state=args.state) for name in names
        ]
    except SettingError as exc:
        print(f"otel-usage relay: {exc}", file=sys.stderr)
        return 2
    warn_if_open(log, host, tokens=bool(options.tokens), tls=tls is not None)
    app = make_app(destinations, options)
    server = build_http_server(
        app,
        ", ".join(names),
        host=host,
        port=port,
        deadline_s=options.deadline_s,
        on_handshake_failure=app.state.relay.count_handshake,
        tls=tls,
    )
    try:
        server.run()
    except SystemExit:  # uvicorn's way of saying that it can't listen; it has logged why
        return 1
    log.info("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
