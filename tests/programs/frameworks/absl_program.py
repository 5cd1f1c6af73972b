"""Flags."""

import sys
from absl import app, flags

import otel_usage

otel_usage.init("prog", version="1.4", consent="opt-in")
flags.DEFINE_string("name", "x", "doc")
flags.DEFINE_bool("deep", False, "doc", short_name="d")


def main(argv):
    return 7 if len(argv) > 1 else 0


app.run(main)
