"""Say how a run failed: exit code, class of the error, and whether it was interrupted or misused.

Ring 0 (foreground): loaded only where a run may have failed.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType


def status_code(status: object) -> int:
    """Return the exit code the parent sees for ``SystemExit(status)``. Source: CPython, handle_system_exit."""
    if status is None:
        return 0
    if not isinstance(status, int):
        return 1
    if not -(1 << 63) <= status < 1 << 63:
        status = -1
    return status & 0xFF if os.name == "posix" else status & 0xFFFFFFFF


def error_type(raised: BaseException, package: str) -> str:
    """Return the qualified class name of *raised*, if it comes from the stdlib, click, typer or *package*.

    Others are ``_OTHER``, and so is a class that its module does not hold: one made at run time may be named
    after data.
    """
    kind = type(raised)
    module, name = kind.__module__, kind.__qualname__
    top = module.partition(".")[0]
    if top not in ("click", "typer", "__main__", package) and top not in sys.stdlib_module_names:
        return "_OTHER"
    held: object = sys.modules.get(module)
    for part in name.split("."):
        held = getattr(held, part, None)
    if held is not kind:
        return "_OTHER"
    if module.startswith("typer._click"):
        module = module[len("typer._") :]
    return name if module == "builtins" else module + "." + name


def outcome_of(raised: "BaseException | None") -> str:
    """Return the outcome that an exception's class stands for, ``interrupted`` or ``usage_error``, or ""."""
    for kind in type(raised).__mro__:
        if kind is KeyboardInterrupt:
            return "interrupted"
        if kind.__module__.partition(".")[0] in ("click", "typer", "argparse"):
            if kind.__name__ in ("UsageError", "ArgumentError"):
                return "usage_error"
            if kind.__name__ == "Abort":
                return "interrupted"
    return ""


def surfaced(mark: object, frame: "FrameType | None") -> bool:
    """True if the SystemExit that holds *mark*, still kept by somebody (asyncio does), left the outermost frame."""
    import gc

    for holder in gc.get_referrers(mark):
        for raised in gc.get_referrers(holder):
            if isinstance(raised, SystemExit) and raised.__traceback__ is not None:
                return raised.__traceback__.tb_frame is frame
    return False
