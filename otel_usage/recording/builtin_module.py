"""Load a module that is built into the interpreter, past the import system.

Its search asks every finder for 0.08 to 0.12 M instructions a module, to learn what the interpreter knows: that the module
is its own. The program that imports it later finds it, as it finds whatever is imported already.

RACE  Two threads may both load it: it is an extension module of the interpreter's, and comes twice as well as once.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def builtin_module(name):
    # type: (str) -> Any
    """Return the module *name*, as ``import`` does. Where it is not built in, or already imported, that is how."""
    loader: Any = sys.__spec__.loader  # of sys itself, and of all that is built in
    spec = name not in sys.modules and loader.find_spec(name)
    if not spec:
        return __import__(name)
    module = loader.create_module(spec)
    module.__spec__, module.__loader__, module.__package__ = spec, loader, ""
    loader.exec_module(module)
    return sys.modules.setdefault(name, module)
