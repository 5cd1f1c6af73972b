"""Start one program, wait for it, and print what it cost. A script: run it with ``python -I -S``.

Small on purpose: a child's peak memory, as the kernel reports it, starts at that of the process that spawned it.
Input, as JSON: argv, env, stdin (a file). Output, as JSON: status, wall_s, cpu_s, peak_mb.
"""

import json
import os
import sys
import time

told = json.loads(sys.stdin.read())
opened = [(os.POSIX_SPAWN_OPEN, 0, told["stdin"], os.O_RDONLY, 0), (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
start = time.perf_counter()
pid = os.posix_spawn(told["argv"][0], told["argv"], told["env"], file_actions=opened)
_, status, usage = os.wait4(pid, 0)
wall_s = time.perf_counter() - start
cpu_s = usage.ru_utime + usage.ru_stime
scale = 1024 if sys.platform != "darwin" else 1024 * 1024
print(json.dumps({"status": status, "wall_s": wall_s, "cpu_s": cpu_s, "peak_mb": usage.ru_maxrss / scale}))
