"""An argparse program that looks at everything a program can see of its process, before, during and after the run."""

import argparse
import atexit
import os
import signal
import subprocess
import sys


def look(when):
    print(when, file=sys.stderr)
    print("argv", sys.argv, sys.orig_argv[1:], file=sys.stderr)
    print("cwd", os.getcwd(), "umask", oct(os.umask(0o22)), file=sys.stderr)
    print("environment", sorted(os.environ.items()), file=sys.stderr)
    for number in range(21):
        try:
            status = os.fstat(number)
        except OSError:
            continue
        print("descriptor", number, oct(status.st_mode), os.get_inheritable(number), file=sys.stderr)
    print("signals", [signal.getsignal(n) for n in sorted(signal.valid_signals())], file=sys.stderr)
    print("hooks", sys.excepthook, sys.unraisablehook, sys.breakpointhook, sys.displayhook, file=sys.stderr)
    print("settings", sys.getrecursionlimit(), sys.getswitchinterval(), sys.gettrace(), sys.flags, file=sys.stderr)
    print("path", sys.path[1:], len(sys.path_hooks), file=sys.stderr)
    print("opened", os.open(os.devnull, os.O_RDONLY), file=sys.stderr)
    sys.stderr.flush()
    show = "import os, sys; print(sorted(os.environ.items()), sys.argv, os.getcwd())"
    subprocess.run([sys.executable, "-S", "-c", show], stdout=2)
    ls = [
        sys.executable,
        "-S",
        "-c",
        "import os; print([n for n in range(300) if os.path.exists(f'/proc/self/fd/{n}')])",
    ]
    subprocess.run(ls, stdout=2, close_fds=False)
    print("children", os.system("true"), file=sys.stderr)
    try:
        os.waitpid(-1, os.WNOHANG)
        print("a child of somebody else's", file=sys.stderr)
    except ChildProcessError:
        print("no child", file=sys.stderr)


atexit.register(look, "after")
look("before")
import otel_usage

otel_usage.init("prog", version="1.4", consent="opt-in")
parser = argparse.ArgumentParser("prog")
parser.add_argument("--number", type=int)
parser.add_argument("ending")
given = parser.parse_args()
look("during")
exec(given.ending)
