"""Every folder and file of ours on disk, spelled here and nowhere else. A test bans the names from all other modules.

FORMAT  ::

    <state>/                  OTEL_USAGE_HOME, else $XDG_STATE_HOME/otel-usage, else ~/.local/state/otel-usage
      <app>/                  "home" in the code; 0700, every file in it 0600
        consent               the user's choice                                            consent/choice.py
        settings.json         the host's settings, without secrets                         settings/remembered.py
        host                  of a plugin: the program by whose word it was last on        consent/host.py
        id                    the installation's id                                        delivery/installation_id.py
        cluster               of a service: its cluster's id, hashed                       delivery/cluster_identity.py
        ledger.jsonl, .1      what was sent, when and to whom                              delivery/ledger.py
        <what>.json           what an exporter remembers                                   the exporters' memory.py
        1/                    "spool" in the code: one folder per format version
          open/               a file per living process, locked; ``.<name>``: being written
          new/                finished files, for the sender                               recording/recorder.py
          cells/              counts of processes without a run of their own, while they live   recording/cells.py
          starts/             a file per start of a service, and how it ended                recording/service_life.py
          beats/              which heartbeats, and crashes, of a service were recorded      recording/heartbeat.py
          wake                its time: no sender before then                              spool/wake_token.py
          lock                held by the one sender at work                               delivery/sender.py
          batch, batch.done   what is being moved from new/ into the queues                delivery/intake.py
          dropped             counts of what was lost, not reported yet                    delivery/losses.py
          trimmed             numbers of what was dropped where no sender works              recording/folders.py
          bad/                what was in the way, or could not be read                    spool/set_aside.py
          queue/<destination>/
            wait/             segments that wait                                           delivery/queue.py
            flight/           the segment that is being sent
            pause             the circuit breaker                                          delivery/breaker.py
          local/              open/ and new/ of the mode "local": no sender looks there
      services/<service>/     id and memory of exporters in programs that do not call init
      debug/faults.log        faults of ours, where somebody has made the folder           recording/failure.py
    /etc/otel-usage/          "machine" in the code: off, <app>.off                        consent/gate.py
"""

FORMAT = "1"
LOCAL = "local"
CONSENT = "consent"
HOST = "host"
OPEN = "open"
NEW = "new"
CELLS = "cells"
STARTS = "starts"
BEATS = "beats"
WAKE = "wake"
TRACES = ".traces.jsonl"
METRICS = ".metrics.jsonl"
COUNTED = ".cells"  # ends a file of cells/
MACHINE = "/etc/otel-usage"

# What the background alone reads and writes.
ID = "id"
CLUSTER = "cluster"
SETTINGS = "settings.json"
LEDGER = "ledger.jsonl"
OLDER_LEDGER = "ledger.jsonl.1"
LOCK = "lock"
BATCH = "batch"
BATCH_DONE = "batch.done"
DROPPED = "dropped"
TRIMMED = "trimmed"
BAD = "bad"
QUEUE = "queue"
WAIT = "wait"
FLIGHT = "flight"
PAUSE = "pause"
SERVICES = "services"
DEBUG = "debug"
FAULTS = "faults.log"

# Endings and beginnings of names.
TAKING = (
    ".taking"  # after the name of a file of cells/: what a sender is about to take of it       delivery/cell_intake.py
)
TAKEN = ".taken"  # likewise: what senders have taken of it so far
PART = ".part"  # after a name: being written, to be renamed into place
JSON_LINES = ".jsonl"  # ends every file of records, in whatever folder
JSON = ".json"  # ends what is remembered in the home: settings.json, and the exporters' files
HIDDEN = "."  # begins a file of open/ whose host has not finished its first write
DISCARDED = ".gone-"  # begins a folder that is being removed
PROBE = ".otel-usage-"  # begins a folder that is made to see whether one can be made there, and removed at once

# What otel-usage serve puts beside its store.
QUEUES_SUFFIX = ".queues"  # <store>.queues/<vendor>/: a spool with one queue                     serve/forwarding.py
BACKUP_SUFFIX = ".backup"  # <store>.backup: a copy                                             serve/store/removal.py

# What the relay keeps in its --state folder.
WINDOW_SUFFIX = ".window"  # <destination>.window                                                server/window.py
WINDOW_LOCK_SUFFIX = ".lock"  # <destination>.window.lock: held by the relay that uses the file
MEMORY_SUFFIX = ".memory"  # <destination>.memory                                  the exporters' memory_journal.py
MEMORY_LOCK_SUFFIX = ".lock"  # <destination>.memory.lock
