"""What became of a delivery by OTLP over gRPC: the official exporter returns no more than a failure, but logs its code.

TABLE  of what a code means for the records.

    | code                                                    | the records | why                                        |
    | ------------------------------------------------------- | ----------- | ------------------------------------------ |
    | INVALID_ARGUMENT, FAILED_PRECONDITION, ALREADY_EXISTS   | dropped     | the protocol forbids to repeat; of gRPC's  |
    |                                                         |             | own parts none says so: a server read them |
    | UNAUTHENTICATED, PERMISSION_DENIED, NOT_FOUND,          | wait,       | a wrong address or token; a proxy's 401,   |
    | UNIMPLEMENTED                                           | paused:     | 403 and 404 become these too               |
    |                                                         | settings    |                                            |
    | all else, or none                                       | wait        | an outage; or INTERNAL and UNKNOWN, which  |
    |                                                         |             | gRPC also makes of a proxy's 400 and 500   |

Source: OTLP specification 1.9, "OTLP/gRPC Response"; grpc/grpc, doc/statuscodes.md and doc/http-grpc-status-mapping.md, read
2026-11-26.
"""

from __future__ import annotations

import logging

from .verdict import Verdict

LOGGER = "opentelemetry.exporter.otlp.proto.grpc"
# gRPC's own mapping to HTTP, so that a reason means the same whatever the protocol; google/rpc/code.proto, read 2026-11-26.
STATUSES = {
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "UNIMPLEMENTED": 404,
    "RESOURCE_EXHAUSTED": 429,
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "ALREADY_EXISTS": 409,
}
REASONS = {"UNAVAILABLE": "connection", "DEADLINE_EXCEEDED": "timeout"}
REFUSED = frozenset({"INVALID_ARGUMENT", "FAILED_PRECONDITION", "ALREADY_EXISTS"})
ABOUT_SETTINGS = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED", "NOT_FOUND", "UNIMPLEMENTED"})


class GrpcStatus(logging.Handler):
    """Listens to the exporter's log. code: the name of the last failure's, "" if there was none."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)  # what it tries again after, it only warns of
        self.code = ""

    @classmethod
    def listen(cls) -> GrpcStatus:
        """Return a new one that hears what the exporters log, and lets nobody else hear it."""
        handler, logger = cls(), logging.getLogger(LOGGER)
        logger.handlers[:] = [handler]
        logger.propagate = False
        logger.setLevel(logging.WARNING)
        return handler

    def begin(self) -> None:
        """Forget the last failure, and hear the next one, whatever was logged before.

        The exporters' logger leaves out what it has logged a moment ago: of several refusals only the first would be heard.
        """
        self.code = ""
        for name in (LOGGER, f"{LOGGER}.exporter"):
            logging.getLogger(name).filters.clear()

    def emit(self, record: logging.LogRecord) -> None:
        """Note the code among the arguments of one line. Its text, which may hold an address, is passed over."""
        arguments = record.args if isinstance(record.args, tuple) else ()
        for argument in arguments:
            name = getattr(argument, "name", "")
            if isinstance(name, str) and type(argument).__name__ == "StatusCode":
                self.code = name

    def judge(self, n: int) -> Verdict:
        """Return what the last failure means for *n* records. See TABLE."""
        status = STATUSES.get(self.code)
        reason = f"http_{status}" if status else REASONS.get(self.code, "lost" if self.code else "fault")
        if self.code in REFUSED:
            return Verdict(dropped={"rejected": n}, status=status, reason=reason)
        wrong = self.code in ABOUT_SETTINGS
        return Verdict(unsent=tuple(range(n)), status=status, reason=reason, wrong_settings=wrong)
