"""Options that may stand in a file, and a sub-command."""

import sys
import configargparse

import otel_usage

otel_usage.init("prog", version="1.4", consent="opt-in")
p = configargparse.ArgParser(default_config_files=[])
p.add("-c", "--config", is_config_file=True)
p.add("--genome")
s = p.add_subparsers(dest="x")
s.add_parser("go").add_argument("--deep", action="store_true")
p.parse_args()
