"""Say on in a program's one run under `otel-usage doctor`, and hand its settings over: imported by its interpreter at start-up.

FORMAT  The variable OTEL_USAGE_DOCTOR holds (descriptor to write to, the voices of the gate, the program's own PYTHONPATH or
        None), marshalled, in hexadecimal digits. Written is one Python literal: (settings, interpreter, ``sys.path``). The
        settings hold keys: the descriptor is that of a file without a name.

ALGORITHM
1. Take away what brought us here: the variables, our folder on ``sys.path``, and our name in ``sys.modules``.
2. Wait for the program to import otel_usage, and put a function before `init`: it removes every variable that says off, says
   on, calls `init`, and writes the settings down.
3. Import the ``sitecustomize`` that ours stood in front of, if there is one.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))


class _Finder:
    """Finds otel_usage as the others do, and has it loaded by way of `_Loader`. Any: of importlib's protocols."""

    def __init__(self, descriptor: int, voices: "list[str]") -> None:
        self.descriptor, self.voices = descriptor, voices

    def find_spec(self, name: str, path: "Any" = None, target: "Any" = None) -> "Any":  # noqa: ARG002  importlib's shape
        if name != "otel_usage":
            return None
        import importlib.util

        finders: list[Any] = sys.meta_path
        finders.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            loader: Any = _Loader(spec.loader, self)
            spec.loader = loader
        return spec


class _Loader:
    def __init__(self, real: "Any", finder: _Finder) -> None:
        self.real, self.finder = real, finder

    def create_module(self, spec: "Any") -> "Any":
        return self.real.create_module(spec)

    def exec_module(self, module: "Any") -> None:
        module.__loader__ = module.__spec__.loader = self.real  # as if we had not been there
        self.real.exec_module(module)
        module.init = _init_that_says_on(module, self.finder)


def _init_that_says_on(module: "Any", finder: _Finder) -> "Any":
    real = module.init

    def init(app: str, *args: "Any", **keywords: "Any") -> "Any":
        prefix = "".join([c if c.isalnum() else "_" for c in str(app)]).upper()
        for name in finder.voices:
            os.environ.pop(name.replace("{APP}", prefix), None)
        os.environ[prefix + "_TELEMETRY"] = "on"
        # Called as from the program itself: `init` looks at who calls it.
        caller = sys._getframe(1)
        call = compile("real(app, *args, **keywords)", caller.f_code.co_filename, "eval")
        names = {"real": real, "app": app, "args": args, "keywords": keywords}
        handle = eval(call, caller.f_globals, names)  # noqa: S307  our own line
        if finder.descriptor >= 0:
            path = [p if p[:1] == "/" else os.path.abspath(p) for p in sys.path[1:] + sys.path[:1] if p]
            os.write(finder.descriptor, repr((handle.settings, sys.executable, path)).encode())
            os.close(finder.descriptor)
            finder.descriptor = -1  # the first call counts
        return handle

    return init


def _start() -> None:
    handover = os.environ.pop("OTEL_USAGE_DOCTOR", "")
    sys.path[:] = [path for path in sys.path if path != HERE]
    this_module = sys.modules.pop("sitecustomize", None)
    if handover:
        import marshal

        descriptor, voices, python_path = marshal.loads(bytes.fromhex(handover))  # noqa: S302  doctor wrote it
        os.environ.pop("PYTHONPATH", None)
        if python_path is not None:
            os.environ["PYTHONPATH"] = python_path
        os.set_inheritable(descriptor, False)
        finders: list[Any] = sys.meta_path
        finders.insert(0, _Finder(descriptor, voices))
    try:
        import sitecustomize  # type: ignore[import-not-found]  # noqa: F401  the program's own
    except ImportError:  # there is none: `site` expects to find a module of this name
        if this_module is not None:
            sys.modules["sitecustomize"] = this_module


_start()
