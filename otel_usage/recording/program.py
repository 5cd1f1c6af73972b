"""Say whether a module that calls `init` belongs to the program that runs, or is a guest in another one.

Loaded where no row that is marked * applies: those are decided by `_is_program` in the front door, since loading this costs
a run 0.2 M instructions.

ALGORITHM  The first row that applies decides. The caller is the module that calls `init`.

    what is seen                                                               the program is
    -------------------------------------------------------------------------  -------------------
    * the caller is ``__main__``, which has a file                             the caller's
    * the program has the app's name                                           the caller's
    * ``python -m package``: the caller is of that package                     the caller's
    * a start script in bin/: it is short, and imports the caller's package    the caller's
    a sub-interpreter                                                          another's: a worker
    the caller is ``__main__``                                                 the caller's
    the program has the app's name, but for what systems add                   the caller's
    the caller lies in or below the folder, or zip file, of the script         the caller's
    what shiv's or pex's own start code enters is of the caller's package      the caller's
    anything else                                                              another's

"Below" ends at a site-packages: what is installed there came from somebody else. docs/decisions/0019-whose-run.md has the
reasons, and what can't be told apart.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType, ModuleType
    from typing import Any


def is_program(app: str, frame: "FrameType", main: "ModuleType | None") -> bool:
    """Return what the table says. frame: the caller's; main: the module ``__main__``."""
    names = getattr(main, "__dict__", {})
    if "__file__" not in names and _in_sub_interpreter():
        return False
    if frame.f_globals.get("__name__") in ("__main__", "__mp_main__"):
        return True
    argv = getattr(sys, "argv", None) or [""]
    if _plain(_split(argv[0])[1]) == _plain(app):
        return True
    file = str(frame.f_code.co_filename).replace("\\", "/")
    if not os.path.isabs(file):  # PyInstaller and Nuitka leave the path of the machine that built the program out
        file = str(frame.f_globals.get("__file__")).replace("\\", "/")
    main_file = str(names.get("__file__") or "")
    if _is_entered_by_archive(frame, _split(main_file)[0]):
        return True
    for start in (main_file, os.path.abspath(str(argv[0]))):  # a profiler is __main__ itself
        own = _split(start)[0]
        if own and "-packages" not in _split(own)[1] and file.startswith(own + "/"):
            return "-packages" not in file[len(own) :]
    return False


def _is_entered_by_archive(frame: "FrameType | None", archive: str) -> bool:
    """True if the start code of an archive has entered the package of *frame*'s module, be it by importing it.

    shiv and pex unpack what they hold into folders of their own, a site-packages among them, and call its entry point.
    Their start code is `_bootstrap` (shiv), `pex` (pex) or a function `boot` of ``__main__`` (pex --venv), and lies with it.
    """
    package = entered = str(frame.f_globals.get("__name__")).partition(".")[0] if frame else ""
    while archive and frame is not None:
        name = str(frame.f_globals.get("__name__")).partition(".")[0]
        starts = name in ("_bootstrap", "pex") or (name == "__main__" and frame.f_code.co_name == "boot")
        if starts and str(frame.f_code.co_filename).replace("\\", "/").startswith(archive + "/"):
            return entered == package
        if name not in ("importlib", "_frozen_importlib", "_frozen_importlib_external"):
            entered = name
        frame = frame.f_back
    return False


def _split(path: str) -> "tuple[str, str]":
    """Return (folder, name) of *path*, with either kind of slash."""
    folder, _, name = str(path).replace("\\", "/").rpartition("/")
    return folder, name


def _plain(name: str) -> str:
    """Return a program's name without what systems add to it: ``-script.py``, ``.exe``, ``.pyz``."""
    name = name.lower()
    for ending in (".exe", ".py", ".pyw", ".pyz", ".pex", ".zip", ".bin", "-script"):
        name = name.removesuffix(ending)
    return name.replace("_", "-").replace(".", "-")


def _in_sub_interpreter() -> bool:
    """True in an interpreter that another one of this process has started."""
    for module in ("_interpreters", "_xxsubinterpreters"):
        try:
            interpreters = __import__(module)
            return bool(_number(interpreters.get_current()) != _number(interpreters.get_main()))
        except (ImportError, AttributeError):
            continue
    return False


def _number(interpreter: object) -> object:
    """Return the number of an interpreter: since 3.13 it comes with who made it."""
    return interpreter[0] if isinstance(interpreter, tuple) else interpreter


def is_pooled(pools: "tuple[str, ...]") -> bool:
    """True if a pool started this process. pools: modules that start them, and say so of the process that they are in."""
    for name in pools:
        process: Any = sys.modules.get(name)
        if process is not None:
            current = process.current_process()
            if type(current).__name__ != "_MainProcess" or hasattr(current, "_inheriting"):
                return True
    return False


def is_reloaded() -> bool:
    """True if a reloader started this process, as Werkzeug's and Django's do: it is a part of its parent's run.

    They set a variable, which every program that such a process starts inherits. What tells it from them is its command
    line: it is its parent's. Where that can't be read the variable decides.
    """
    try:
        with open(f"/proc/{os.getppid()}/cmdline", "rb") as file:
            above = file.read().split(b"\0")[:-1]
        with open("/proc/self/cmdline", "rb") as file:
            words = file.read().split(b"\0")[:-1]
    except OSError:
        return True
    own = len(getattr(sys, "argv", ())) - 1
    return not own or above[-own:] == words[-own:]
