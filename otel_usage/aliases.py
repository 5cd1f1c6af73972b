"""Give a package of ours the modules that `_load` has loaded without it. Loaded where somebody imports such a package."""

import sys

from . import _BUNDLED, _load


def give_modules(folder: str) -> None:
    """Give the package *folder* its modules: those that stand in another file, and those that `_load` loaded before it."""
    prefix = f"{__package__}.{folder}."
    for name in _BUNDLED:
        if name.rpartition(".")[0] == folder:
            sys.modules[f"{__package__}.{name}"] = _load(name)
    for whole, module in list(sys.modules.items()):
        leaf = whole.removeprefix(prefix)
        if leaf != whole and "." not in leaf:
            setattr(sys.modules[prefix[:-1]], leaf, module)
