"""Play Google Analytics 4: check a Measurement Protocol request, and answer as its servers do.

No I/O, and nothing but the standard library. Source of the rules: developers.google.com, Measurement Protocol (GA4)
reference, sending and validating events; Analytics Help 9267744 and 13316687; ga-dev-tools' Event Builder. Read
2026-11-22.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import Any
from urllib.parse import parse_qsl

# Any in this module: JSON, of any shape.
ValidationMessage = dict[str, str]  # with fieldPath, description and validationCode, as Google's server has it


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_BODY_FIELDS = {
    "client_id", "app_instance_id", "user_id", "timestamp_micros", "user_properties", "consent", "events",
    "non_personalized_ads", "user_data", "user_location", "ip_override", "device", "user_agent", "validation_behavior",
}  # fmt: skip
_DEVICE_FIELDS = {
    "category", "language", "screen_resolution", "operating_system", "operating_system_version", "model", "brand",
    "browser", "browser_version",
}  # fmt: skip
# reference, "Reserved event names"
_RESERVED_EVENT_NAMES = _words(
    """
    ad_activeview ad_click ad_exposure ad_query ad_reward adunit_exposure app_clear_data app_exception app_install
    app_remove app_store_refund app_update app_upgrade dynamic_link_app_open dynamic_link_app_update
    dynamic_link_first_open error firebase_campaign firebase_in_app_message_action firebase_in_app_message_dismiss
    firebase_in_app_message_impression first_open first_visit notification_dismiss notification_foreground
    notification_open notification_receive notification_send os_update session_start user_engagement
    """
)
# Help 13316687: collected by GA4 itself
_COLLECTED_BY_GA4 = _words(
    """
    app_store_subscription_cancel app_store_subscription_convert app_store_subscription_renew click file_download
    form_start form_submit scroll view_complete video_progress video_start video_complete view_search_results
    """
)
_APP_ONLY_EVENTS = ("ad_impression", "in_app_purchase", "screen_view")
_REQUIRED_PARAMETERS = {  # parameters that recommended events require
    "add_payment_info": "value items", "add_shipping_info": "value items", "add_to_cart": "value items",
    "add_to_wishlist": "value items", "begin_checkout": "value items", "remove_from_cart": "value items",
    "view_cart": "value items", "view_item": "value items", "purchase": "transaction_id items value",
    "refund": "transaction_id value", "view_item_list": "items", "select_item": "items", "view_promotion": "items",
    "generate_lead": "value", "search": "search_term", "post_score": "score",
    "spend_virtual_currency": "value virtual_currency_name", "unlock_achievement": "achievement_id",
    "page_view": "page_location", "screen_view": "screen_name",
}  # fmt: skip
# parameters with a meaning of their own, as text
_TEXT_PARAMETERS = _words(
    """
    currency transaction_id affiliation coupon shipping_tier virtual_currency_name payment_type group_id character
    method search_term content_type item_id item_list_id item_list_name creative_name creative_slot location_id
    promotion_id promotion_name item_name achievement_id page_title page_location page_referrer screen_name
    screen_class
    """
)
_NUMBER_PARAMETERS = ("value", "shipping", "tax", "level", "score", "engagement_time_msec")
_LONGER_VALUES = {"page_title": 300, "page_referrer": 420, "page_location": 1000}  # Help 9267744
_RESERVED_PROPERTY_NAMES = _words(
    """
    first_open_time first_visit_time last_deep_link_referrer user_id first_open_after_install cid customer_id
    customerid google_allow_ad_personalization_signals last_advertising_id_reset last_gclid lifetime_user_engagement
    non_personalized_ads session_id session_number sessionid sfmc_id sid uid userid
    """
)


def answer(path: str, query: str, body: bytes) -> tuple[int, dict[str, str], bytes, list[str]]:
    """Return (status, headers, body) as GA4 would answer a POST, and what is wrong with it.

    path: with or without the query. As the real thing, the collecting endpoint says 204 whatever it gets, and the
    debug endpoint does not look at the query.
    """
    path, _, more = path.partition("?")
    query = query or more
    if path not in ("/mp/collect", "/debug/mp/collect"):
        return 404, {}, b"", [f"(request): there is no {path}"]
    broken_rules = messages(body, query)
    lines = [_in_one_line(message) for message in broken_rules]
    if path == "/mp/collect":
        return 204, {}, b"", lines
    answered = [message for message in broken_rules if message["fieldPath"] != "query"]
    text = json.dumps({"validationMessages": answered}, indent=2).encode()
    return 200, {"Content-Type": "application/json; charset=utf-8"}, text, lines


def events_of(payload: Any) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield (time in ISO 8601, name, parameters) of each event of a request."""
    for event in payload.get("events", ()):
        micros = int(event.get("timestamp_micros", payload.get("timestamp_micros", 0)))
        at = datetime.fromtimestamp(micros // 1_000_000, timezone.utc).isoformat()
        yield at, str(event.get("name", "")), event.get("params", {})


def problems(
    body: bytes | Mapping[str, Any], query: str | Mapping[str, str] = "", *, now_s: float | None = None
) -> list[str]:
    """Return what is wrong with a request, one line per rule that it breaks; none for a good one."""
    return [_in_one_line(message) for message in messages(body, query, now_s=now_s)]


def _in_one_line(message: ValidationMessage) -> str:
    return f"{message['fieldPath'] or '(request)'}: {message['description']} [{message['validationCode']}]"


def messages(
    body: bytes | Mapping[str, Any], query: str | Mapping[str, str] = "", *, now_s: float | None = None
) -> list[ValidationMessage]:
    """Return what is wrong with a request, shaped as the validation server's ``validationMessages``."""
    check = _Check()
    parameters = dict(parse_qsl(query, keep_blank_values=True)) if isinstance(query, str) else dict(query)
    app = "firebase_app_id" in parameters
    if parameters:
        _check_query(check, parameters)
    if isinstance(body, bytes):
        if len(body) >= 130_000:
            check.add("", "VALUE_OUT_OF_BOUNDS", "Post body must be smaller than 130kBs.")
        try:
            body = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            check.add("", "VALUE_INVALID", "The body is not JSON in UTF-8.")
            return check.messages
    if not isinstance(body, Mapping):
        check.add("", "VALUE_INVALID", "The body must be an object.")
        return check.messages
    _check_body(check, body, app=app, now_s=time.time() if now_s is None else now_s)
    return check.messages


class _Check:
    """One check of a request: collects a message for each rule that it breaks."""

    def __init__(self) -> None:
        self.messages: list[ValidationMessage] = []

    def add(self, path: str, code: str, description: str) -> None:
        self.messages.append({"fieldPath": path, "description": description, "validationCode": code})


def _refuse_constant(constant: str) -> None:
    """Refuse ``NaN`` and ``Infinity``, which Python takes for JSON."""
    raise ValueError(constant)


def _check_query(check: _Check, query: Mapping[str, str]) -> None:
    if not query.get("api_secret"):
        check.add("query", "VALUE_REQUIRED", "api_secret is required.")
    if ("measurement_id" in query) == ("firebase_app_id" in query):
        check.add("query", "VALUE_REQUIRED", "One of measurement_id and firebase_app_id is required.")
    if "measurement_id" in query and not re.fullmatch(r"G-[A-Z0-9]+", query["measurement_id"]):
        check.add("query", "VALUE_INVALID", "measurement_id must look like G-XXXXXXXXXX.")
    if "firebase_app_id" in query and not re.fullmatch(r"\d:\d+:[a-zA-Z]+:[a-zA-Z0-9]+", query["firebase_app_id"]):
        check.add("query", "VALUE_INVALID", "firebase_app_id must look like 1:1234:android:abcd.")


def _check_body(check: _Check, body: Mapping[str, Any], *, app: bool, now_s: float) -> None:
    for name in body:
        if name not in _BODY_FIELDS:
            check.add(str(name), "NAME_INVALID", f"The body has no field [{name}].")
    client, instance = body.get("client_id"), body.get("app_instance_id")
    if app or (instance is not None and client is None):
        if not (isinstance(instance, str) and re.fullmatch(r"[A-Fa-f0-9]{32}", instance)):
            check.add("app_instance_id", "VALUE_INVALID", "app_instance_id must be 32 hexadecimal digits.")
        if client is not None:
            check.add("client_id", "VALUE_INVALID", "An app stream takes app_instance_id, not client_id.")
    elif not isinstance(client, str) or not client:
        check.add("client_id", "VALUE_REQUIRED", "client_id must be text.")
    elif not re.fullmatch(r"[1-9][0-9]*\.[1-9][0-9]*", client):
        check.add("client_id", "VALUE_INVALID", "client_id should be two positive numbers joined by a period.")
    user = body.get("user_id")
    if user is not None and not (isinstance(user, str) and 0 < len(user) <= 256):
        check.add("user_id", "VALUE_INVALID", "user_id must be text of at most 256 characters.")
    consent = body.get("consent")
    if consent is not None and not (
        isinstance(consent, Mapping)
        and set(consent) <= {"ad_user_data", "ad_personalization"}
        and all(value in ("GRANTED", "DENIED") for value in consent.values())
    ):
        check.add("consent", "VALUE_INVALID", "consent must say GRANTED or DENIED.")
    device = body.get("device")
    if device is not None:
        if not isinstance(device, Mapping) or not all(isinstance(value, str) for value in device.values()):
            check.add("device", "VALUE_INVALID", "device must hold text.")
        elif set(device) - _DEVICE_FIELDS:
            check.add("device", "NAME_INVALID", f"device has no {sorted(set(device) - _DEVICE_FIELDS)}.")
    if body.get("validation_behavior") not in (None, "RELAXED", "ENFORCE_RECOMMENDATIONS"):
        check.add("validation_behavior", "VALUE_INVALID", "validation_behavior must be a documented word.")
    _check_time(check, "timestamp_micros", body.get("timestamp_micros"), now_s)
    _check_properties(check, body.get("user_properties"), now_s, dated=body.get("timestamp_micros") is not None)
    events = body.get("events")
    if not isinstance(events, list) or not events:
        check.add("events", "VALUE_REQUIRED", "events must be a list of at least one.")
        return
    if len(events) > 25:
        check.add("events", "EXCEEDED_MAX_ENTITIES", "A request takes at most 25 events.")
    for index, event in enumerate(events):
        _check_event(check, index, event, app=app, now_s=now_s)


def _check_properties(check: _Check, properties: Any, now_s: float, *, dated: bool) -> None:
    """Check user properties. dated: the body has a time; else those without one of their own are of their arrival."""
    if properties is None:
        return
    if not isinstance(properties, Mapping):
        check.add("user_properties", "VALUE_INVALID", "user_properties must be an object.")
        return
    if len(properties) > 25:
        check.add("user_properties", "EXCEEDED_MAX_ENTITIES", "A request takes at most 25 user properties.")
    for name, user_property in properties.items():
        path = f"user_properties.{name}"
        _check_name(check, path, name, "User property", 24)
        if name in _RESERVED_PROPERTY_NAMES:
            check.add(path, "NAME_RESERVED", f"The user property [{name}] is reserved.")
        if (
            not isinstance(user_property, Mapping)
            or "value" not in user_property
            or set(user_property) - {"value", "timestamp_micros"}
        ):
            check.add(path, "VALUE_INVALID", "A user property must be an object with a value.")
            continue
        if not dated and "timestamp_micros" not in user_property:
            check.add(
                path, "VALUE_REQUIRED", "A user property without a time, its own or the body's, is of its arrival."
            )
        _check_value(check, path, user_property["value"], 36)
        _check_time(check, path, user_property.get("timestamp_micros"), now_s)


def _check_event(check: _Check, index: int, event: Any, *, app: bool, now_s: float) -> None:
    path = f"events[{index}]"
    if not isinstance(event, Mapping):
        check.add(path, "VALUE_INVALID", "An event must be an object.")
        return
    for key in event:
        if key not in ("name", "params", "timestamp_micros"):
            check.add(path, "NAME_INVALID", f"Event at index: [{index}] has no field [{key}].")
    name, params = event.get("name"), event.get("params")
    if not isinstance(name, str):
        check.add(f"{path}.name", "VALUE_REQUIRED", f"Event at index: [{index}] has no name.")
        return
    if not name[:1].isascii() or not name[:1].isalpha():
        text = f"Event at index: [{index}] has invalid name [{name}]. Names must start with an alphabetic character."
        check.add(f"{path}.name", "NAME_INVALID", text)
    elif not _NAME.fullmatch(name):
        text = f"Event at index: [{index}] has invalid name [{name}]. "
        text += "Only alphanumeric characters and underscores are allowed."
        check.add(f"{path}.name", "NAME_INVALID", text)
    if len(name) > 40:
        check.add(f"{path}.name", "NAME_INVALID", f"Event at index: [{index}] has a name longer than 40 characters.")
    reserved = name in _RESERVED_EVENT_NAMES or name in _COLLECTED_BY_GA4 or (name in _APP_ONLY_EVENTS and not app)
    if reserved or name.startswith(("_", "firebase_", "ga_", "google_", "gtag.", "query_id")):
        check.add(f"{path}.name", "NAME_RESERVED", f"Event at index: [{index}] has name [{name}] which is reserved.")
    _check_time(check, f"{path}.timestamp_micros", event.get("timestamp_micros"), now_s)
    if not isinstance(params, Mapping):
        check.add(f"{path}.params", "VALUE_REQUIRED", f"Event at index: [{index}] has no params.")
        return
    if len(params) > 25:
        text = f"Event at index: [{index}] has more than 25 parameters."
        check.add(f"{path}.params", "EXCEEDED_MAX_ENTITIES", text)
    for required in _REQUIRED_PARAMETERS.get(name, "").split():
        if required not in params:
            check.add(f"{path}.params.{required}", "VALUE_REQUIRED", f"[{name}] requires the parameter [{required}].")
    for key, value in params.items():
        _check_param(check, f"{path}.params.{key}", key, value)
    if ("currency" in params) != ("value" in params):
        check.add(f"{path}.params", "VALUE_REQUIRED", "value and currency require each other.")
    session = params.get("session_id")
    if not (isinstance(session, int) and session > 0) and not (
        isinstance(session, str) and re.fullmatch(r"\d+", session)
    ):
        check.add(f"{path}.params.session_id", "VALUE_INVALID", "session_id must be a positive number.")
    engagement_ms = params.get("engagement_time_msec")
    if not isinstance(engagement_ms, (int, float)) or isinstance(engagement_ms, bool) or engagement_ms <= 0:
        text = "engagement_time_msec must be positive, or the user does not count as active."
        check.add(f"{path}.params.engagement_time_msec", "VALUE_INVALID", text)


def _check_param(check: _Check, path: str, name: Any, value: Any) -> None:
    _check_name(check, path, name, "Parameter", 40)
    if name == "firebase_conversion":
        check.add(path, "NAME_RESERVED", "The parameter [firebase_conversion] is reserved.")
    if name in _TEXT_PARAMETERS and not isinstance(value, str):
        check.add(path, "VALUE_INVALID", f"[{name}] must be text.")
    if name in _NUMBER_PARAMETERS and (not isinstance(value, (int, float)) or isinstance(value, bool)):
        check.add(path, "VALUE_INVALID", f"[{name}] must be a number.")
    if name == "debug_mode" and (value != 1 or isinstance(value, bool)):
        check.add(path, "VALUE_INVALID", "debug_mode must be 1, or left out: false turns debugging on, too.")
    if name == "items":
        if not isinstance(value, list) or len(value) > 200:
            check.add(path, "VALUE_INVALID", "items must be a list of at most 200.")
        return
    _check_value(check, path, value, _LONGER_VALUES.get(name, 100))


def _check_name(check: _Check, path: str, name: Any, what: str, limit: int) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        text = f"{what} name [{name}] must start with a letter, and hold letters, digits and underscores only."
        check.add(path, "NAME_INVALID", text)
    elif len(name) > limit:
        check.add(path, "NAME_INVALID", f"{what} name [{name}] is longer than {limit} characters.")
    if isinstance(name, str) and name.startswith(("_", "firebase_", "ga_", "google_", "gtag.")):
        check.add(path, "NAME_RESERVED", f"{what} name [{name}] starts with a reserved prefix.")


def _check_value(check: _Check, path: str, value: Any, limit: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        check.add(path, "VALUE_INVALID", "A value must be text or a number.")
    elif isinstance(value, str) and len(value) > limit:
        check.add(path, "VALUE_OUT_OF_BOUNDS", f"The value is longer than {limit} characters.")
    elif isinstance(value, str) and not value.isprintable():
        check.add(path, "VALUE_INVALID", "The value holds characters that are not text.")
    elif isinstance(value, str) and value.isspace():
        check.add(path, "VALUE_INVALID", "The value holds blanks only.")
    elif isinstance(value, int) and abs(value) >= 2**63:
        check.add(path, "VALUE_OUT_OF_BOUNDS", "The number is larger than 64 bits hold.")


def _check_time(check: _Check, path: str, micros: Any, now_s: float) -> None:
    if micros is None:
        return
    if isinstance(micros, str) and re.fullmatch(r"\d{1,20}", micros):
        micros = int(micros)
    if isinstance(micros, bool) or not isinstance(micros, int):
        check.add(path, "VALUE_INVALID", "timestamp_micros must be Unix microseconds.")
    elif micros < (now_s - 72 * 3600) * 1e6:
        check.add(path, "VALUE_OUT_OF_BOUNDS", "Events are accepted up to 72 hours back.")
    elif micros > (now_s + 15 * 60) * 1e6:
        check.add(path, "VALUE_OUT_OF_BOUNDS", "The time is ahead.")
