"""Receive usage data over OTLP/HTTP and hand it to GA4, Segment and other exporters, whose keys stay on the server.

Ring 2 (extra ``[relay]``): see docs/relay.md. ``otel_usage.relay.app:make_app`` is the ASGI application.
"""
