"""Record a Python program that knows nothing of us: found by the interpreter at start-up, put there by `otel-usage run`.

Ring 0 (foreground). Leaves nothing behind: the program, and what it starts, sees the environment and path it would
have seen without us.
"""

import os
import sys


def _start() -> None:
    here = os.path.dirname(__file__)
    told = os.environ.pop("OTEL_USAGE_RUN", "")
    sys.path[:] = [path for path in sys.path if path != here]
    hidden = sys.modules.pop("sitecustomize", None)
    try:
        if told:
            import marshal

            settings, root, python_path = marshal.loads(bytes.fromhex(told))  # noqa: S302  our own parent wrote it
            os.environ.pop("PYTHONPATH", None)
            if python_path is not None:
                os.environ["PYTHONPATH"] = python_path
            if sys.version_info >= (3, 10):
                sys.path.insert(0, root)
                try:
                    from otel_usage.attach import attach
                finally:
                    sys.path.remove(root)
                attach(settings)
    except Exception:  # the program must never know
        pass
    try:
        import sitecustomize  # type: ignore[import-not-found]  # noqa: F401  the one that ours hid
    except ImportError:
        if hidden is not None:
            sys.modules["sitecustomize"] = hidden


_start()
