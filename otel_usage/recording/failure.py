"""Say how a run failed: exit code, class of the error, and whether it was interrupted or misused.

Loaded only where a run may have failed.
"""

import gc
import os
import sys

from .. import _load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType, TracebackType
    from typing import Any

    from .run import Run


def error_type(raised: BaseException, package: str) -> str:
    """Return the qualified class name of *raised*, if it comes from the stdlib, click, typer or *package*.

    Others are ``_OTHER``, and so is a class that its module does not hold, or that no class statement there has made: one
    made at run time may be named after data.
    """
    kind = type(raised)
    module, name = kind.__module__, kind.__qualname__
    top = module.partition(".")[0]
    if top not in ("click", "typer", "__main__", package) and top not in sys.stdlib_module_names:
        return "_OTHER"
    held: object = sys.modules.get(module)
    for part in name.split("."):
        held = getattr(held, part, None)
    if held is not kind or (top in ("__main__", package) and not _is_written(module, name, raised)):
        return "_OTHER"
    if module.startswith("typer._click"):
        module = module[len("typer._") :]
    return name if module == "builtins" else module + "." + name


def _is_written(module: str, name: str, raised: BaseException) -> bool:
    """True if a class statement in *module* has the qualified *name*, or if the module has no code to look at (C).

    Looked for in the module's code: in a class that is made by ``type(text, ...)`` nothing tells of it.
    """
    code: Any = None
    spec = getattr(sys.modules[module], "__spec__", None)
    if spec is not None:
        try:
            code = spec.loader.get_code(spec.name)
        except (ImportError, AttributeError, OSError, SyntaxError):
            return not str(spec.origin).endswith(".py")
    elif raised.__traceback__ is not None:  # a script: its own frame is the outermost of its module
        frame: FrameType | None = raised.__traceback__.tb_frame
        while frame is not None:
            if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") == module:
                code = frame.f_code
            frame = frame.f_back
    if code is None:
        return spec is not None
    pattern = name.split(".")
    return pattern[0] in _classes_in(code, pattern[1:])


def _classes_in(code: "Any", path: "list[str]") -> "list[str]":
    """Return the names of the classes that *code* makes, and that themselves make those of *path*."""
    inner = [each for each in code.co_consts if isinstance(each, type(code))]
    return [each.co_name for each in inner if not path or path[0] in _classes_in(each, path[1:])]


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


def passed(frame: "FrameType", at: int) -> bool:
    """True if *frame*, which has ended, let the exception out that came out of its instruction *at*."""

    def again() -> None:
        raise

    def anyway() -> None:
        try:
            pass
        finally:
            pass

    code, last = frame.f_code.co_code, frame.f_lasti
    if last in (at, -1):
        return last == at
    # Each of the two ends with the instruction that raises the same exception again.
    return code[last : last + 2] == again.__code__.co_code[-2:] or code[last] == anyway.__code__.co_code[-2]


def reached(frame: "FrameType", origin: "tuple[object, int] | None") -> bool:
    """True if a traceback is alive that leads from *frame* to *origin*, (code, instruction)."""
    if origin is None:
        return True
    traceback_type: Any = None
    try:
        raise KeyError
    except KeyError as exc:
        traceback_type = type(exc.__traceback__)
    for trace in _young_objects():
        if type(trace) is not traceback_type or trace.tb_frame is not frame:
            continue
        step: TracebackType | None = trace
        while step is not None:
            if (step.tb_frame.f_code, step.tb_lasti) == origin:
                return True
            step = step.tb_next
    return False


def surfaced(mark: object, frame: "FrameType | None", at: int) -> bool:
    """True if the SystemExit that holds *mark*, still kept by somebody (asyncio does), left the outermost frame.

    frame: that frame; at: its instruction that called what raised.
    """
    for raised in _young_objects():
        if (
            issubclass(type(raised), SystemExit)
            and BaseException.__dict__["__dict__"].__get__(raised).get("_otel_usage") is mark
        ):
            first = raised.__traceback__
            if first is None or frame is None:
                return False
            if first.tb_frame is frame:
                return passed(frame, first.tb_lasti)
            # Before 3.12 the traceback ends where the exception was handled last: by a finally or with.
            return sys.version_info < (3, 12) and passed(first.tb_frame, first.tb_lasti) and passed(frame, at)
    return False


def leave_at_once(run: "Run", arguments: "tuple[Any, ...]", keywords: "dict[str, Any]") -> None:
    """Have *run* written, if os._exit with these arguments is about to end its process: else it raises an error."""
    if run.on_left is None or (len(arguments), list(keywords)) not in ((1, []), (0, ["status"])):
        return
    status = arguments[0] if arguments else keywords["status"]
    if type(status) is int and -1 << 31 <= status < 1 << 31:
        code = _load("recording.exit_watch").exit_code_of(status)  # by name: an import would load the package
        run.ended = code, "failure" if code else "success", "_OTHER" if code else ""
        run.on_left()


def flush_error() -> "str | None":
    """Flush stdout and stderr, as the interpreter will do next; return the class of the error, "" if there is none.

    After an error the interpreter exits with 120. None where that can't be known: a flush that is Python code is the
    program's own, and calling it once more than the interpreter does would be seen.
    """
    error: str | None = ""
    for stream in (sys.stdout, sys.stderr):
        if stream is None:
            continue
        try:
            flush = stream.flush
            if type(flush) is not type(len) and type(stream).__module__.partition(".")[0] not in ("click", "typer"):
                error = None
                continue
            try:
                if stream.closed:
                    continue
            except ValueError:  # detached: the interpreter tries all the same
                pass
            flush()
        except BlockingIOError:  # it may have been read by then
            error = None
        except Exception as exc:
            return type(exc).__name__ if isinstance(exc, OSError) else "_OTHER"
    return error


def real_ident() -> int:
    """Return the number of the thread that runs, where gevent or eventlet has `get_ident` say that of a greenlet."""
    numbers = {id(frame): ident for ident, frame in sys._current_frames().items()}
    return numbers[id(sys._getframe())]  # by number: a frame that holds itself would never die, nor its callers' locals


MANY = 20_000  # objects that are looked at, at most: some 2 ms


def _young_objects() -> "list[Any]":  # Any: whatever there is
    """Return the objects that were made last, among them the traceback of an exception that is ending the program.

    The garbage collector keeps the youngest apart, and a few thousand at most; so what is asked here costs the same
    however large the program is. Empty where they may be many: then the exit code is not known.
    """
    youngest, rounds = gc.get_count()[:2]
    if youngest > MANY or "t" in getattr(sys, "abiflags", ""):  # a free-threaded Python has one generation
        return []
    objects = gc.get_objects(0)
    if sys.version_info < (3, 14) and rounds * gc.get_threshold()[0] <= MANY:
        objects += gc.get_objects(1)
    return objects


def is_thrown_in(raised: "BaseException | None") -> bool:
    """True if the host has thrown *raised*, which came out of code of ours, into it: it is waiting for it.

    Two ways lead there: a signal handler that raises (deadlines, Celery's and RQ's limits), and an exception that another
    thread or a C extension sets (``PyThreadState_SetAsyncExc``). They are told from faults of ours by what is seen:

        a function in the traceback was handed the frame that it interrupted     the host's: only signal handlers are
        code of the host's or of a framework, which we asked for something       ours to swallow
        our own code, and a class that is neither the interpreter's nor ours     the host's
        our own code, and no arguments, as when a class is set and no instance   the host's
        our own code, otherwise                                                  a fault of ours
    """
    step = None if raised is None else raised.__traceback__
    before, asked = None, False
    while step is not None:
        frame = step.tb_frame
        module = _top(frame.f_globals.get("__name__"))
        if module != "otel_usage":
            if before is not None and _was_handed(frame, before):
                return True
            asked = asked or module not in sys.stdlib_module_names
        before, step = frame, step.tb_next
    if asked or raised is None:
        return False
    kind: type = type(raised)
    module = _top(kind.__module__)
    foreign = module != "otel_usage" and module not in sys.stdlib_module_names
    arguments: object = BaseException.args.__get__(raised)  # type: ignore[attr-defined]  # of C: no class of the host's is asked
    return foreign or (arguments == () and kind is not MemoryError)


def _top(module: object) -> str:
    return module.partition(".")[0] if isinstance(module, str) else ""


def _was_handed(frame: "FrameType", before: "FrameType") -> bool:
    """True if a variable of *frame*, or an item of its ``*args``, is the frame that called or was interrupted."""
    for value in frame.f_locals.values():
        if value is before or (type(value) is tuple and any([item is before for item in value])):
            return True
    return False


def note() -> None:
    """Write the exception being handled, a fault of ours, into ``<state>/debug/faults.log`` if that folder exists."""
    from ..spool.layout import DEBUG, FAULTS

    try:
        gate = _load("consent.gate")
        state = gate.home(gate.getter(os.environ))
        folder = os.path.join(state, DEBUG)
        if state and os.path.isdir(folder):
            import traceback

            with open(os.path.join(folder, FAULTS), "a", encoding="utf-8") as log:
                traceback.print_exc(file=log)
    except Exception:  # no descriptor left, no disk, the program has replaced our files: the host must never know
        pass
