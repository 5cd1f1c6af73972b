"""Hook a framework that is imported after recording began.

Ring 0 (foreground): loaded when that happens.
"""

import sys

from .recorder import HOOKS, Run, guarded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def found(run: Run, name: str, path: object, target: object) -> "Any":
    """Return what the other finders find for a framework, its spec made to tell when the import ends.

    The import system sets ``spec._initializing`` to False as its last step, so no frame of ours is around it.
    """
    for finder in sys.meta_path:
        if finder is not run:
            spec = finder.find_spec(name, path, target)  # type: ignore[arg-type]
            if spec is not None:
                guarded(_tell, run, spec)
                return spec
    return None


def _tell(run: Run, spec: "Any") -> None:
    plain = type(spec)

    class Telling(plain):  # type: ignore[misc]
        def __setattr__(self, name: str, value: object) -> None:
            plain.__setattr__(self, name, value)  # type: ignore[misc]
            if name == "_initializing" and not value:
                spec.__class__ = plain
                module = sys.modules.get(spec.name)
                if module is not None:  # None: the import failed
                    guarded(HOOKS[spec.name], run, module)

    spec.__class__ = Telling
