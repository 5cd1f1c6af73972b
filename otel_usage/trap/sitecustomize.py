"""Watch a Python program from inside, with us or with an inert module in our place: for `otel-usage verify`.

Ring 1 (background), in the program's process. Found by the interpreter at start-up. What the program starts is watched
too.
"""

import os
import sys


def _start() -> None:
    here = os.path.dirname(os.path.abspath(__file__))
    told = os.environ.get("OTEL_USAGE_TRAP", "")
    sys.path[:] = [path for path in sys.path if path != here]
    hidden = sys.modules.pop("sitecustomize", None)
    if told:
        import json

        log, inert, _ = json.loads(told)
        if inert:
            sys.meta_path.insert(0, _Inert())  # type: ignore[arg-type]
        _watch(log)
    try:
        import sitecustomize  # type: ignore[import-not-found]  # noqa: F401  the one that ours hid
    except ImportError:
        if hidden is not None:
            sys.modules["sitecustomize"] = hidden


def _watch(log: str) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 201)
    os.close(descriptor)
    write, fsdecode, path_like = os.write, os.fsdecode, (str, bytes)
    changing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    heads = ("socket.", "os.", "subprocess.", "fcntl.")

    def hook(event: str, args: "tuple[object, ...]") -> None:
        if event != "open" and not event.startswith(heads):
            return
        words = [fsdecode(arg) for arg in args if isinstance(arg, path_like)]
        if event == "open":
            if not words or isinstance(args[0], int):
                return
            mode, flags = args[1], args[2]
            writes = (
                any(c in "wax+" for c in mode)
                if isinstance(mode, str)
                else bool(isinstance(flags, int) and flags & changing)
            )
            words = ["write" if writes else "read", words[0]]
        elif event in ("os.listdir", "os.scandir"):
            words = ["read", *words[:1]]
        elif event.startswith("socket."):
            words = [event, *[repr(arg) for arg in args[1:]]]
        else:
            words = [event, *words]
        try:
            write(201, (event + "\t" + " ".join(words).replace("\n", " ") + "\n").encode("utf-8", "replace"))
        except OSError:  # the program closed it
            pass

    sys.addaudithook(hook)


class _Inert:
    """Finds `otel_usage` where it is, as the interpreter would, and puts a module that does nothing in its place."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        if name.partition(".")[0] != "otel_usage":
            return None
        from importlib.machinery import ModuleSpec

        for finder in sys.meta_path:
            if finder is not self:  # type: ignore[comparison-overlap]
                spec = finder.find_spec(name, path, target)  # type: ignore[arg-type]
                if spec is not None:
                    break
        made = ModuleSpec(name, self, is_package=True)  # type: ignore[arg-type]
        made.submodule_search_locations = []
        return made

    def create_module(self, spec: object) -> None:  # noqa: ARG002  the protocol
        return None

    def exec_module(self, module: object) -> None:
        module.__getattr__ = _Nothing().__getattr__  # type: ignore[attr-defined]


class _Nothing:
    """Stands for anything of ours: can be called, entered and asked for anything, and does nothing."""

    def __init__(self, name: str = "") -> None:
        self.name = name

    def __call__(self, *args: object, **kwargs: object) -> object:
        if self.name == "run" and args and callable(args[0]):
            return args[0](*args[1:], **kwargs)
        return self

    def __getattr__(self, name: str) -> "_Nothing":
        if name.startswith("__"):
            raise AttributeError(name)
        return _Nothing(name)

    def __enter__(self) -> "_Nothing":
        return self

    def __exit__(self, *raised: object) -> None:
        return None

    def __bool__(self) -> bool:
        return False


_start()
