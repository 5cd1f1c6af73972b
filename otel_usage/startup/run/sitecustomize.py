"""Record a Python program that knows nothing of us: imported by its interpreter at start-up, as `otel-usage run` arranged.

FORMAT  The variable OTEL_USAGE_RUN holds (settings, the folder of otel_usage, the program's own PYTHONPATH or None),
        marshalled, in hexadecimal digits.

ALGORITHM

1. Take away what brought us here: the variables, our folder on ``sys.path``, and our name in ``sys.modules``. The
   program, and what it starts, sees what it would have seen without us.
2. Attach a recorder, with the folder of otel_usage on ``sys.path`` for that moment only. No fault may reach the program.
3. Import the ``sitecustomize`` that ours stood in front of, if there is one.

This runs in the program's interpreter, which may be older than those that otel_usage supports: no new syntax here.
"""

import os
import sys


def _start() -> None:
    here = os.path.dirname(__file__)
    handover = os.environ.pop("OTEL_USAGE_RUN", "")
    sys.path[:] = [path for path in sys.path if path != here]
    this_module = sys.modules.pop("sitecustomize", None)
    try:
        if handover:
            import marshal

            settings, root, python_path = marshal.loads(bytes.fromhex(handover))  # noqa: S302  our own parent wrote it
            os.environ.pop("PYTHONPATH", None)
            if python_path is not None:
                os.environ["PYTHONPATH"] = python_path
            if sys.version_info >= (3, 10):
                sys.path.insert(0, root)
                try:
                    from otel_usage.recording.attach import attach
                finally:
                    sys.path.remove(root)
                attach(settings)
    except Exception:  # the program must never know
        pass
    try:
        import sitecustomize  # type: ignore[import-not-found]  # noqa: F401  the program's own
    except ImportError:  # there is none: `site` expects to find a module of this name
        if this_module is not None:
            sys.modules["sitecustomize"] = this_module


_start()
