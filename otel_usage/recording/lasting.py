"""Say whether a folder will be there when its container is not.

Loaded by services, and by the sender of one.
"""

import os

from .. import _load


def is_lasting(folder: str) -> bool:
    """True if *folder* lies on a disk that outlives the container, or in no container at all.

    A container's own file system goes with it, and so do an ``emptyDir`` and memory.
    """
    if not in_container():
        return True
    try:
        with open("/proc/self/mountinfo", "rb") as file:
            rows = file.read(1_048_576).splitlines()
    except OSError:
        return False
    best, lasting = 0, False
    path = os.path.realpath(folder)
    for row in rows:
        try:
            before, _, after = row.partition(b" - ")
            fields = before.split()
            root, point = fields[3], os.fsdecode(fields[4].replace(b"\\040", b" "))
            kind = after.split()[0]
        except IndexError:
            continue
        if len(point) > best and (path + "/").startswith(point.rstrip("/") + "/"):
            best = len(point)
            lasting = point != "/" and kind not in (b"tmpfs", b"overlay") and b"kubernetes.io~empty-dir" not in root
    return lasting


def in_container() -> bool:
    """True if process 1 is no machine's, or Kubernetes says so."""
    if "KUBERNETES_SERVICE_HOST" in os.environ or os.getpid() == 1:
        return True
    return not _load("recording.folders").is_process_1_a_machines()
