"""``otel-usage serve``: read the command line and the environment, and receive, keep, show and pass on until it is to stop.

``otel-usage serve erase`` and ``otel-usage serve backup`` ask the server that has the store, or do it themselves if none runs:
see errand.py. What needs the extra ``[server]`` is imported in `main` alone, which says what to install if it is missing.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from otel_usage.server.options import MIB, Options
from otel_usage.server.serve import (
    add_limits,
    explain_limits,
    load_tls,
    read_address,
    read_limits,
    read_names,
    read_token_file,
    warn_if_open,
)
from otel_usage.setting_error import SettingError
from otel_usage.settings.endpoint import is_loopback

from .stored import STORE, VIEWER_TOKEN

if TYPE_CHECKING:
    from .access import Access

log = logging.getLogger("otel_usage.serve")

DEFAULTS = Options(waiting=2_048, held_bytes=256 * MIB)
LISTEN = "127.0.0.1:4318"  # OTLP's own port: programs that are told nothing else send there
DEMO_STORE = "usage-demo.duckdb"
CLIENT_TOKEN = "OTEL_USAGE_SERVE_TOKEN"  # noqa: S105  the variable's name
NUMBERS = ("memory_mib", "spill_mib", "keep_days", "keep_rollup_days")
ERRANDS = ("erase", "backup")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of ``otel-usage serve``."""
    parser = argparse.ArgumentParser(
        prog="otel-usage serve",
        description="Receive usage data over OTLP/HTTP, at /v1/traces and /v1/metrics, keep it in a file, show it at /, and pass "
        "it on to vendors: one process, no account. `otel-usage serve erase` and `otel-usage serve backup` have a "
        "--help of their own. See docs/serve.md.",
    )
    parser.add_argument("--store", metavar="FILE", help=f"the file, made if it is not there; default: {STORE}")
    parser.add_argument("--listen", default=LISTEN, metavar="HOST:PORT", help="default: %(default)s")
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        help="tokens of clients, one a line, each with the apps it is for, if not for all: TOKEN APP,APP; "
        f"also {CLIENT_TOKEN}",
    )
    parser.add_argument(
        "--viewer-token-file",
        metavar="FILE",
        help=f"tokens of those who look, one a line; also {VIEWER_TOKEN}. Without any, this machine alone looks",
    )
    parser.add_argument("--tls-cert", metavar="FILE", help="certificate chain, PEM")
    parser.add_argument("--tls-key", metavar="FILE", help="its private key, PEM")
    parser.add_argument(
        "--schema", action="append", default=[], metavar="APP=FILE", help="keep only what this app declares; repeatable"
    )
    parser.add_argument(
        "--to",
        action="append",
        default=[],
        metavar="VENDOR",
        help="pass on to this exporter, set up by its variables: ga4, segment, otlp; repeatable",
    )
    parser.add_argument(
        "--demo", action="store_true", help=f"serve a generated year, in a store of its own; default file: {DEMO_STORE}"
    )
    limits = add_limits(parser, DEFAULTS)
    limits.add_argument("--memory-mib", type=int, default=512, help="memory of the store")
    limits.add_argument("--spill-mib", type=int, default=1_024, help="disk that one question may take for itself")
    limits.add_argument("--keep-days", type=int, default=400, help="days that events stay")
    limits.add_argument(
        "--keep-rollup-days", type=int, default=1_830, help="days that a row a day and installation stays"
    )
    explain_limits(limits)
    return parser


def read_options(args: argparse.Namespace) -> Options:
    """Return limits and schemas. Raises SettingError."""
    options = read_limits(args, NUMBERS)
    if args.keep_days > args.keep_rollup_days:
        raise SettingError(
            f"--keep-days {args.keep_days} is more than --keep-rollup-days {args.keep_rollup_days}: "
            "rollups outlive the events that they are made of"
        )
    return options


def read_access(args: argparse.Namespace, host: str) -> Access:
    """Return who may send and who may look. Raises SettingError."""
    from .access import Access, read_clients, read_viewers

    clients: dict[str, frozenset[str]] = {}
    viewers: tuple[str, ...] = ()
    if text := os.environ.get(CLIENT_TOKEN, ""):
        clients = read_clients(text, CLIENT_TOKEN)
    if args.token_file:
        text = read_token_file("--token-file", args.token_file)
        clients |= read_clients(text, f"--token-file {args.token_file!r}")
    if text := os.environ.get(VIEWER_TOKEN, ""):
        viewers = read_viewers(text, VIEWER_TOKEN)
    if args.viewer_token_file:
        text = read_token_file("--viewer-token-file", args.viewer_token_file)
        viewers += read_viewers(text, f"--viewer-token-file {args.viewer_token_file!r}")
    if shared := set(clients) & set(viewers):
        raise SettingError(
            f"{len(shared)} of the viewers' tokens are clients' too: clients' ship with programs, so anybody could look"
        )
    return Access(clients, viewers, local=is_loopback(host))


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return 0 then, 2 if an option is wrong, 1 if the server can't start."""
    words = list(sys.argv[1:] if argv is None else argv)
    args = None if words[:1] and words[0] in ERRANDS else build_parser().parse_args(words)
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    for name in ("otel_usage.relay", "otel_usage.serve"):
        logging.getLogger(name).setLevel(logging.INFO)
    try:
        from . import errand, serving
    except ImportError as exc:
        print(f"otel-usage serve: {exc.name} is missing: pip install 'otel-usage[server]'", file=sys.stderr)
        return 2
    try:
        if args is None:
            return errand.main(words)
        options = read_options(args)
        host, port = read_address(args.listen)
        vendors = read_names(args.to) if args.to else []
        if args.demo and vendors:
            raise SettingError("--demo and --to exclude each other: a generated year is nothing for a vendor")
        access = read_access(args, host)
        tls = load_tls(args.tls_cert, args.tls_key)
        warn_if_open(log, host, tokens=bool(access.clients), tls=tls is not None)
        if not is_loopback(host) and not access.viewers:
            log.warning("nobody may look, as there is no --viewer-token-file")
        return serving.serve(
            args.store or (DEMO_STORE if args.demo else STORE),
            options,
            access,
            host=host,
            port=port,
            tls=tls,
            vendors=vendors,
            limits=serving.StoreLimits(args.memory_mib, args.spill_mib, args.keep_days, args.keep_rollup_days),
            demo=args.demo,
        )
    except SettingError as exc:
        print(f"otel-usage serve: {exc}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
