"""Receive over OTLP/HTTP, check, and pass on: the relay. Needs the extra ``[relay]``.

The command is serve; options holds what it reads, http_server listens. A request then passes through, in this order::

    connections    bounds on connections, and on the head of a request
    app            the token, the paths, and the steps from a request to its answer
    bearer         reads tokens, and compares them
    body_reader    reads bodies within limits; body is one of them, and decompresses itself
    decode         bytes to records, by decode_protobuf (with envelope) or decode_json; wire_metric serves both
    received       what is to be delivered
    fan_out        the destinations of one request, and the one answer of them all
    workers        one destination: its threads; window remembers what was delivered, lanes send side by side
    outcome        what became of each request
    answers        what the client hears

prometheus holds the numbers that the relay publishes of itself, operator_log decides what its log mentions.
"""
