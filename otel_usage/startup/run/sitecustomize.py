"""Record a Python program that knows nothing of us: imported by its interpreter at start-up, as `otel-usage run` arranged.

FORMAT  OTEL_USAGE_RUN holds <process id>:<(settings, the folder of otel_usage), marshalled, in hexadecimal digits>, and, if
        the program has a PYTHONPATH of its own, :<that>.

ALGORITHM

1. Take away what brought us here: the variables, our folder on ``sys.path``, and our name in ``sys.modules``. The
   program, and what it starts, sees what it would have seen without us.
2. In the very process that `otel-usage run` became, and in no other that inherited the variables: attach a recorder, with
   the folder of otel_usage on ``sys.path`` for that moment only. No fault may reach the program.
3. Import the ``sitecustomize`` that ours stood in front of, if there is one.

This runs in whatever interpreter comes: a shim's, a wrapper's, Python 2.7. What is written here must be valid in all.
"""

import os
import sys


def _start():  # type: () -> None
    here = os.path.dirname(__file__)
    handover = os.environ.pop("OTEL_USAGE_RUN", "")
    sys.path[:] = [path for path in sys.path if path != here]
    this_module = sys.modules.pop("sitecustomize", None)
    if handover:
        process, _, rest = handover.partition(":")
        text, has_path, python_path = rest.partition(":")
        os.environ.pop("PYTHONPATH", None)
        if has_path:
            os.environ["PYTHONPATH"] = python_path
        try:
            if process == str(os.getpid()) and sys.version_info >= (3, 10):
                import marshal

                settings, root = marshal.loads(bytes.fromhex(text))  # noqa: S302  our own parent wrote it
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
