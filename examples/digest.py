"""Digests of files, and whether they still hold: an argparse program."""

import argparse
import hashlib
import sys

import otel_usage

usage = otel_usage.init(
    "digest",
    version="2.1.0",
    consent="opt-out",
    about="https://digest.example.org/telemetry",
    schema={
        "files.digested": {
            "why": "are many small files or few large ones digested? (which to make fast)",
            "fields": {"algorithm": ["md5", "sha1", "sha256"], "size": otel_usage.bucket("MB", 1, 10, 100)},
        },
        "digest.mismatch": {"kind": "error", "why": "how often does verifying find a difference?"},
    },
)


def digest(path: str, algorithm: str) -> str:
    """Return the file's digest, in hexadecimal."""
    with open(path, "rb") as file:
        content = file.read()
    usage.action("files.digested", algorithm=algorithm, size=len(content) / 1e6)
    return hashlib.new(algorithm, content).hexdigest()


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="digest", description="Digests of files, and whether they still hold.")
    parser.add_argument("--algorithm", choices=["md5", "sha1", "sha256"], default="sha256")
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("make", help="print digests")
    make.add_argument("file", nargs="+")
    verify = commands.add_parser("verify", help="compare a file with a digest")
    verify.add_argument("file")
    verify.add_argument("--expect", required=True, metavar="DIGEST")
    otel_usage.mount(commands)  # digest telemetry status, off, …
    otel_usage.show_flag(parser)  # --disable-analytics, in --help
    told = parser.parse_args()

    if told.command == "make":
        for path in told.file:
            print(digest(path, told.algorithm), path)
        return 0
    if digest(told.file, told.algorithm) != told.expect:
        usage.error("digest.mismatch")
        print(f"{told.file}: differs", file=sys.stderr)
        return 1
    print(f"{told.file}: holds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
