"""Whether any of thousands of generated cases lets a secret out: the long form of tests/test_secrets.py."""

import os
import random
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests import planted_secrets as secrets

from ..spools import Sink

CASES = int(os.environ.get("SECRETS_CASES", "3000"))
TOGETHER = 100


def batch(first):
    """Run the cases from *first* on, search disk, log and wire; return where something was found, and bytes searched."""
    sink = Sink()
    try:
        with tempfile.TemporaryDirectory(prefix="otel-usage-secrets-") as folder:
            root = Path(folder)
            cases = [secrets.case(first + n) for n in range(TOGETHER)]
            texts = secrets.run(cases, root, sink.address)
            secrets.send(root / "state", sink.address)
            texts += secrets.written(root / "state")
            texts += [
                (path, text) for path, head, body in sink.told for text in (path.encode(), repr(head).encode(), body)
            ]
            return (
                secrets.hits([case.secret for case in cases], texts),
                sum(len(text) for _, text in texts),
                len(sink.told),
            )
    finally:
        sink.close()


def main():
    """Print what was searched and found; fail if anything was. Other numbers than the tests': every time new ones."""
    start = random.SystemRandom().randrange(10**9)
    with ThreadPoolExecutor(2) as workers:
        results = list(workers.map(batch, range(start, start + CASES, TOGETHER)))
    found = [hit for hits, _, _ in results for hit in hits]
    size, requests = sum(n for _, n, _ in results), sum(n for _, _, n in results)
    print(
        f"\nsecrets: {CASES} cases from number {start}, {size / 1e6:.1f} MB and {requests} requests searched: ", end=""
    )
    print("nothing found" if not found else f"{len(found)} FOUND\n" + "\n".join(found))
    if found:
        raise AssertionError("a secret got out")


if __name__ == "__main__":
    sys.exit(main())
