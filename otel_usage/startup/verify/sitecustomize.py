"""Watch a Python program from inside, with us or with an inert module in our place: for `otel-usage verify`.

Imported by the program's interpreter at start-up. What the program starts is watched too. Imports next to nothing: what
it has loaded already, it can't see anybody load.

FORMAT  The variable OTEL_USAGE_TRAP holds (path of the log, whether an inert module takes our place, our version, files
        to hide), marshalled, in hexadecimal digits. `cli.watch` writes it, and reads the log: see there for its lines.

RACES

1. The program closes our descriptor, and opens a file that gets its number. Before each line we look whether the
   descriptor is still that of the log; if not, the log is opened again.
2. Another thread does so between the look and the write. Then that one line is lost, or lands in the program's file.
   Only programs that close descriptors which they do not own can meet this, and only while they are verified.
3. Threads and child processes write at the same time. Each line is one write to a file opened for appending.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))
HIGH = 201  # our descriptor's number: low ones are the program's to count on


def _start() -> None:
    handover = os.environ.get("OTEL_USAGE_TRAP", "")
    sys.path[:] = [path for path in sys.path if path != HERE]
    this_module = sys.modules.pop("sitecustomize", None)
    if handover:
        import marshal

        log, inert, version, absent = marshal.loads(bytes.fromhex(handover))  # noqa: S302  verify wrote it
        note = _watch(log)
        if inert:
            finders: list[Any] = sys.meta_path
            finders.insert(0, _Inert(note, version))
        if absent:
            _hide(absent)
    try:
        import sitecustomize  # type: ignore[import-not-found]  # noqa: F401  the program's own
    except ImportError:  # there is none: `site` expects to find a module of this name
        if this_module is not None:
            sys.modules["sitecustomize"] = this_module


def _watch(log: str) -> "Callable[..., None]":
    """Add what is audited to *log* from now on; return a function that adds a line of one's own, from its words.

    If the log can't be written any more, a folder ``<log>.blind`` says so.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    writing_flags = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    watched_prefixes = ("socket.", "os.", "subprocess.", "fcntl.", "sqlite3.")
    # Bound here: a program's tests may replace the functions of the module.
    open_file, fstat, dup2, close, write, mkdir = os.open, os.fstat, os.dup2, os.close, os.write, os.mkdir

    def open_log() -> int:
        """Return a descriptor of the log, with a high number if that can be had."""
        low = open_file(log, flags)
        for number in range(HIGH, HIGH + 32):
            try:
                fstat(number)
            except OSError:  # free
                try:
                    dup2(low, number, False)
                except OSError:  # so high a number is more than the program may have
                    return low
                close(low)
                return number
        return low

    descriptor = open_log()
    status = fstat(descriptor)
    identity = (status.st_dev, status.st_ino)

    def is_still_the_log() -> bool:
        try:
            status = fstat(descriptor)
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == identity

    def note(*words: str) -> None:
        nonlocal descriptor
        line = "\t".join([word.replace("\n", " ").replace("\t", " ") for word in words]) + "\n"
        try:
            if not is_still_the_log():  # the program closed it, and may have opened something else there
                descriptor = open_log()
            write(descriptor, line.encode("utf-8", "replace"))
        except OSError:
            try:
                mkdir(log + ".blind")
            except OSError:
                pass

    def hook(event: str, args: "tuple[Any, ...]") -> None:
        if event == "open":
            path, mode, open_flags = args
            if isinstance(path, int):
                return
            writes = bool(open_flags & writing_flags) if mode is None else any(c in "wax+" for c in mode)
            words = ["write" if writes else "read", *_words((path,))]
        elif not event.startswith(watched_prefixes):
            return
        elif event in ("os.listdir", "os.scandir"):
            words = ["read", *_words(args[:1])]
        elif event.startswith("socket."):  # the socket itself is left out
            words = [repr(arg) for arg in args if arg is None or isinstance(arg, (str, bytes, int, tuple))]
        else:
            words = list(_words(args))
        if not words or not words[-1].startswith(log):  # what we do to the log is not the program's doing
            note(event, *words)

    sys.addaudithook(hook)
    return note


def _words(args: "tuple[object, ...]") -> "Iterator[str]":
    """Yield the texts among an event's arguments; a command line's words one by one."""
    for arg in args:
        if isinstance(arg, (str, bytes, os.PathLike)):
            yield os.fsdecode(arg)
        elif isinstance(arg, (list, tuple)):
            yield from [os.fsdecode(word) for word in arg if isinstance(word, (str, bytes, os.PathLike))]


def _hide(absent: "list[str]") -> None:
    """Have files that switch a whole machine off look absent: another switch is at proof, or none."""
    lstat = os.lstat

    def hiding(path: "Any", **kwargs: "Any") -> os.stat_result:
        if path in absent:
            raise FileNotFoundError(2, "No such file or directory", path)  # as the real one does
        return lstat(path, **kwargs)

    os.lstat = hiding


class _Inert:
    """Finds `otel_usage` where it is, as the interpreter would, and puts inert.py in its place."""

    def __init__(self, note: "Callable[..., None]", version: str) -> None:
        self.note = note
        self.version = version

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        if name.partition(".")[0] != "otel_usage":
            return None
        others: list[Any] = [finder for finder in sys.meta_path if not isinstance(finder, _Inert)]
        for finder in others:
            real_spec = finder.find_spec(name, path, target)
            if real_spec is not None:
                if real_spec.origin:
                    self.note("package", os.path.dirname(real_spec.origin))
                break
        spec_class: Any = type(sys.__spec__)  # importlib.machinery.ModuleSpec, without importing it
        spec = spec_class(name, self, is_package=True)
        spec.submodule_search_locations = []
        return spec

    def create_module(self, spec: object) -> None:  # noqa: ARG002  its shape
        return None

    def exec_module(self, module: "Any") -> None:
        if module.__name__ != "otel_usage":
            module.__getattr__ = sys.modules["otel_usage"].__getattr__
            return
        path = os.path.join(HERE, "inert.py")
        with open(path, encoding="utf-8") as file:
            code = compile(file.read(), path, "exec", dont_inherit=True)
        module._note = self.note
        exec(code, module.__dict__)  # noqa: S102  our own
        module.__version__ = self.version


_start()
