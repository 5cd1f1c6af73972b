"""Options and no command."""

import sys
import optparse

import otel_usage

otel_usage.init("prog", version="1.4", consent="opt-in")
p = optparse.OptionParser(version="1")
p.add_option("-d", "--deep", action="store_true")
p.add_option("--name")
o, a = p.parse_args()
if len(a) > 1:
    p.error("one word at most")
sys.exit(3 if a else 0)
