"""Turn usage events into GA4 Measurement Protocol requests.

Pure and deterministic: the clock, the identities and what was learned before are passed in.

What GA4 does not take is cut, renamed or dropped here, by rule, and counted: see docs/ga4.md. Limits without a source
of their own: Measurement Protocol reference and "Limitations", developers.google.com, and Analytics Help 9267744,
read 2026-11-22.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from otel_usage_exporters.packing import Altered, Request, Translation, Unit, pack
from otel_usage_exporters.text import cached, cut, distinct, encode_json, flat, scalar, shortened, truncate
from otel_usage_exporters.usage_event import DERIVED_TOO_OLD, Origin, UsageEvent

from .known_as import client_id
from .sessions import SESSION_S, Sessions

MAX_EVENTS = 25  # per request
MAX_PARAMS = 25  # per event
MAX_NAME = 40  # characters of an event's or parameter's name
MAX_VALUE = 100  # characters of a parameter's value
MAX_PROPERTY_VALUE = 36  # characters of a user property's value
MAX_USER_ID = 256  # characters
MAX_BODY_BYTES = 129_999  # "less than 130 kB"
MAX_AGE_S = 72 * 3600 - 60  # older events GA4 moves to 72 hours ago; a minute for the way
MAX_AHEAD_S = 15 * 60  # undocumented; RudderStack rejects what is further ahead, rudder-transformer c98d160
PREFIXES = ("_", "firebase_", "ga_", "google_", "gtag.", "gtag_")
EVENT_PREFIXES = (*PREFIXES, "query_id")

# Names that GA4 reserves, collects by itself, or gives a meaning with required parameters. A union: the reference,
# Analytics Help 13316687, ga-dev-tools f94e627^ and da12b8b, rudder-transformer c98d160; read 2026-11-22.
RESERVED_EVENTS = frozenset(
    """ad_activeview ad_click ad_exposure ad_impression ad_query ad_reward adunit_exposure app_clear_data app_exception
    app_install app_remove app_store_refund app_store_subscription_cancel app_store_subscription_convert
    app_store_subscription_renew app_update app_upgrade campaign_details click dynamic_link_app_open dynamic_link_app_update
    dynamic_link_first_open error exception file_download firebase_campaign firebase_in_app_message_action
    firebase_in_app_message_dismiss firebase_in_app_message_impression first_open first_visit form_start form_submit
    in_app_purchase notification_dismiss notification_foreground notification_open notification_receive
    notification_send os_update page_view screen_view scroll session_start user_engagement video_complete
    video_progress video_start view_complete view_search_results
    add_payment_info add_shipping_info add_to_cart add_to_wishlist begin_checkout generate_lead post_score purchase
    refund remove_from_cart search select_item select_promotion spend_virtual_currency unlock_achievement view_cart
    view_item view_item_list view_promotion""".split()  # noqa: SIM905
)
USAGE_EVENTS = frozenset(
    """command_run cli_error first_run heartbeat service_start service_stop service_crash usage_dropped usage_runs
    usage_run_duration usage_actions usage_errors""".split()  # noqa: SIM905
)
# Parameters that GA4 reserves, does not let be registered as dimensions, types, or fills reports from.
RESERVED_PARAMS = frozenset(
    """cid currency customer_id customerid dclid debug_mode engagement_time_msec firebase_conversion gclid items
    session_id session_number sessionid sfmc_id sid srsltid timestamp_micros uid user_id userid
    achievement_id affiliation campaign campaign_id character content content_type coupon creative_name creative_slot
    discount group_id index item_id item_list_id item_list_name item_name language level location_id medium method
    page_hostname page_location page_path page_referrer page_title payment_type price promotion_id promotion_name
    quantity score screen_class screen_name screen_resolution search_term shipping shipping_tier source tax term
    transaction_id user_agent value virtual_currency_name""".split()  # noqa: SIM905
)
SYSTEMS = {"linux": "Linux", "darwin": "MacOS", "windows": "Windows"}  # "MacOS": the reference's own example
TAIL = b"]}"  # the end of every body
TIME_BYTES = 40  # of what stands between a head and the events
DAY_S = 86_400
CI_CLIENTS = 64  # for each vendor of CI; see `_client`
CONSENT = {"ad_user_data": "DENIED", "ad_personalization": "DENIED"}
_TORN = re.compile("%[0-9A-F]?$")
_WRONG = re.compile(r"[^A-Za-z0-9_]")


@dataclass(frozen=True, slots=True)
class GA4Options:
    """How to write events.

    app_stream: for an app's data stream, not a web site's. screens: "", page_view or screen_view: also sent for every run.
    client_id: instead of one per installation. validate: ask the validation server to check recommendations too.
    debug: mark events for DebugView, and for GA4's filter of developer traffic.
    """

    app_stream: bool = False
    screens: str = ""
    client_id: str = ""
    validate: bool = False
    debug: bool = False


def translate(
    events: Sequence[UsageEvent], options: GA4Options, *, now_ns: int, sessions: Mapping[str, Any] | None = None
) -> Translation:
    """Return the requests for *events*, each of one installation and version.

    sessions: ``{client id: …}`` as learned before, see sessions.py; what was learned is in the result.
    Dropped: too_old, future, derived_too_old. Altered: renamed, cut, value, params.
    """
    gone: dict[int, str] = {}
    altered: Altered = Counter()
    by_origin: dict[int, list[UsageEvent]] = {}  # by the object's id: equal origins are one object, see usage_event.py
    oldest_ns, newest_ns = now_ns - MAX_AGE_S * 10**9, now_ns + MAX_AHEAD_S * 10**9
    for event in events:
        if event.end_ns < oldest_ns:
            # A run counter repeats spans of the same day that are dropped too: it is left out, and nothing is lost by that.
            gone[event.position] = DERIVED_TOO_OLD if event.kind == "derived" else "too_old"
        elif event.end_ns > newest_ns:
            gone[event.position] = "future"
        else:
            by_origin.setdefault(id(event.origin), []).append(event)
    groups = [(_client(group, options), ci, group) for ci, group in _groups(by_origin.values())]
    numbers, learned = _number_sessions(groups, {} if sessions is None else sessions, oldest_ns // 10**9)
    requests: list[Request] = []
    for client, ci, group in groups:
        head = _head(group[0].origin, ci, client, options)
        units = [Unit(one.position, tuple(_encoded(one, numbers[one.position], options, altered))) for one in group]
        ends_ns = {one.position: one.end_ns for one in group}  # the last of a request is its newest: they are sorted
        room = MAX_BODY_BYTES - len(head) - TIME_BYTES - len(TAIL)
        for each in pack(units, max_events=MAX_EVENTS, max_bytes=room):
            requests.append(Request(each, head + b'%d,"events":[' % (ends_ns[each[-1].position] // 1_000)))
    return Translation(tuple(requests), Counter(gone.values()), altered, learned, gone)


def _client(events: Sequence[UsageEvent], options: GA4Options) -> str:
    """Return who the client of *events*, of one origin, is.

    All runs in CI systems of one vendor are of one origin. GA4 drops without a word what a client sends beyond 2,000 sessions
    or 100,000 events a day, so these are spread over `CI_CLIENTS` of them: what is sent together goes to one, and which one
    is as random as the ids of spans.
    """
    if options.client_id:
        return options.client_id
    origin = events[0].origin
    name = origin.installation_id
    if origin.ci_system:
        name += f".{int(events[0].event_id[:8], 16) % CI_CLIENTS}"
    return client_id(name, app_stream=options.app_stream)


def _number_sessions(
    groups: Iterable[tuple[str, bool | None, Sequence[UsageEvent]]], known: Mapping[str, Any], oldest_s: int
) -> tuple[dict[int, int], dict[str, Any]]:
    """Return the session's number of each event, by position, and what to remember of each client.

    In CI a session is a day (UTC), since all containers there share their clients, and none knows of the others' sessions.
    """
    numbers: dict[int, int] = {}
    by_client: dict[str, list[UsageEvent]] = {}
    for client, _, group in groups:
        if group[0].origin.ci_system:
            numbers.update((event.position, max(event.end_ns // 10**9 // DAY_S * DAY_S, 1)) for event in group)
        else:
            by_client.setdefault(client, []).extend(group)
    learned: dict[str, Any] = {}
    for client, events in by_client.items():
        events.sort(key=_order)  # of all its versions together
        sessions = Sessions(known.get(client))
        for event in events:
            numbers[event.position] = sessions.number_of(event.end_ns // 10**9)
        learned[client] = sessions.to_remember(oldest_s)
    return numbers, learned


@cached
def event_name(name: str) -> str:
    """Return *name* as GA4 takes it: ``report.upload`` → ``report_upload``, ``error`` → ``event_error``."""
    plain = _WRONG.sub("_", truncate(name)).lstrip("_0123456789")
    if not plain or plain in RESERVED_EVENTS or plain in USAGE_EVENTS or plain.startswith(EVENT_PREFIXES):
        plain = "event_" + plain
    return shortened(plain, MAX_NAME, name)


@cached
def param_name(name: str) -> str:
    """Return *name* as GA4 takes it for a parameter: ``value`` → ``field_value``."""
    plain = _WRONG.sub("_", truncate(name)).lstrip("_0123456789")
    if not plain or plain in RESERVED_PARAMS or plain.startswith(PREFIXES):
        plain = "field_" + plain
    return shortened(plain, MAX_NAME, name)


def _groups(by_origin: Iterable[list[UsageEvent]]) -> Iterator[tuple[bool | None, list[UsageEvent]]]:
    """Yield (in CI?, events of one origin that may share a request, oldest first).

    Only runs say whether they were in CI. If all of them say the same, the other events are taken to be of the same place,
    and go with them; else they are a group of their own.
    """
    for events in by_origin:
        events.sort(key=_order)
        places = [ci for ci in (False, True) if any(event.ci is ci for event in events)]
        if events[0].origin.ci_system:
            yield True, events
        elif len(places) < 2:
            yield places[0] if places else None, events
        else:
            for ci in (None, *places):
                group = [event for event in events if event.ci is ci]
                if group:
                    yield ci, group


def _order(event: UsageEvent) -> tuple[int, int]:
    return event.end_ns, event.position


def _head(origin: Origin, ci: bool | None, client: str, options: GA4Options) -> bytes:
    """Return the beginning of a body, which all events of one installation and version share, up to its time.

    That time is the newest event's, and counts for the user properties: else they would be as new as their arrival.
    """
    properties = {
        "os": origin.os_type,
        "os_version": origin.os_version,
        "arch": origin.arch,
        "python": origin.runtime_version,
        "app_version": origin.app_version,
        "ci": "" if ci is None else "true" if ci else "false",
        "first_week": origin.first_week,
        "ephemeral": "true" if origin.ephemeral else "",
    }
    user_properties = {
        name: {"value": text}
        for name, value in properties.items()
        if not (text := cut(value, MAX_PROPERTY_VALUE)).isspace() and text
    }
    body: dict[str, Any] = {"app_instance_id" if options.app_stream else "client_id": client, "consent": CONSENT}
    if origin.user_id:
        body["user_id"] = cut(origin.user_id, MAX_USER_ID)
    if user_properties:
        body["user_properties"] = user_properties
    system = cut(SYSTEMS.get(origin.os_type, origin.os_type), MAX_VALUE)
    if system.strip():
        body["device"] = {"operating_system": system}
        version = cut(origin.os_version, MAX_VALUE)
        if version.strip():
            body["device"]["operating_system_version"] = version
    if options.validate:
        body["validation_behavior"] = "ENFORCE_RECOMMENDATIONS"
    return encode_json(body)[:-1].encode() + b',"timestamp_micros":'


def _encoded(event: UsageEvent, session: int, options: GA4Options, altered: Altered) -> Iterator[bytes]:
    """Yield the events that *event* becomes: one, and a screen view before it if asked for."""
    micros = event.end_ns // 1_000
    if options.screens and event.kind == "run":
        view = {**_first_params(session, 1, options), **_screen(event, options.screens)}
        yield encode_json({"name": options.screens, "timestamp_micros": micros, "params": view}).encode()
    name, params = _event(event, session, options, altered)
    yield encode_json({"name": name, "timestamp_micros": micros, "params": params}).encode()


def _screen(event: UsageEvent, screens: str) -> dict[str, str]:
    """Return what fills GA4's "Pages and screens" report."""
    app = event.origin.app or "cli"
    title = cut(event.name, MAX_VALUE) or app[:MAX_VALUE]
    if screens == "screen_view":
        return {"screen_name": title, "screen_class": cut(app, MAX_VALUE)}
    host = _WRONG.sub("-", truncate(app)).strip("-_").lower()[:32].strip("-").replace("_", "-") or "cli"
    path = "" if event.command == "(root)" else event.command.strip("()")
    location = f"https://{host}.invalid/{quote(cut(path, MAX_VALUE)[:60]).replace('%20', '/')}"
    return {"page_title": title, "page_location": _TORN.sub("", location[:MAX_VALUE])}


def _first_params(session: int, engaged_ms: int, options: GA4Options) -> dict[str, Any]:
    """Return the parameters with which every event begins. Any parameter debug_mode, false too, turns debugging on."""
    params: dict[str, Any] = {"session_id": session, "engagement_time_msec": engaged_ms}
    return {**params, "debug_mode": 1} if options.debug else params


def _event(event: UsageEvent, session: int, options: GA4Options, altered: Altered) -> tuple[str, dict[str, Any]]:
    """Return name and parameters of *event*."""
    kind = event.kind
    # A run's time is its user's; what happens inside it adds none.
    engaged = min(max(event.duration_ms, 1), SESSION_S * 1_000) if kind == "run" else 1
    params = _first_params(session, engaged, options)
    _put_text(params, "app", event.origin.app, altered)
    _put_text(params, "app_version", event.origin.app_version, altered)
    if kind == "run":
        name = "command_run"
        _put_text(params, "command", event.command or "(unknown)", altered)
        _put_text(params, "outcome", event.outcome or "unknown", altered)
        if event.exit_code is not None:
            code = scalar(event.exit_code)
            if isinstance(code, int):
                params["exit_code"] = code
            else:
                altered["value"] += 1
        params["duration_ms"] = event.duration_ms
        if event.options:
            params.update(flat({"options": event.options}, altered))
        if event.tty is not None:
            params["tty"] = "true" if event.tty else "false"
        _put_text(params, "agent", event.agent, altered)
        _put_text(params, "surface", event.surface, altered)
    elif kind == "error":
        name = "cli_error"
        _put_text(params, "error_code", event.name, altered)
    elif kind in ("first_run", "start", "stop", "crash"):
        name = kind if kind == "first_run" else f"service_{kind}"
        _put_text(params, "start", event.start, altered)
        _put_text(params, "previous_version", event.previous_version, altered)
        _put_text(params, "signal", event.signal, altered)
        _put_text(params, "frames", event.frames, altered)
    elif kind == "heartbeat":
        name = "heartbeat"
        _put_text(params, "heartbeat_name", event.name, altered)
    elif kind in ("dropped", "derived"):
        name = event.name.replace(".", "_")
    else:
        name = event_name(event.name)
        if name != event.name.replace(".", "_"):
            altered["renamed"] += 1
    if kind in ("count", "dropped", "derived"):
        params["count"] = event.count if event.count < 2**53 else float(event.count)
    elif kind in ("action", "span"):
        params["duration_ms"] = event.duration_ms
    _put_text(params, "error_type", event.error_type, altered)
    for field, value in flat(event.fields, altered):
        if len(params) >= MAX_PARAMS:
            altered["params"] += 1
            continue
        key = distinct(param_name(field), params, MAX_NAME)
        if key != field:
            altered["renamed"] += 1
        if isinstance(value, str):
            _put_text(params, key, value, altered)
        elif isinstance(value, bool):
            params[key] = "true" if value else "false"  # the reference knows text and numbers only
        else:
            params[key] = value
    return name, params


def _put_text(params: dict[str, Any], key: str, value: str, altered: Altered) -> None:
    """Put *value*, cut to what GA4 takes; one that is empty, or blanks only, says nothing, and is left out."""
    text = cut(value, MAX_VALUE)
    if text.strip():
        params[key] = text
    if text != value:
        altered["cut"] += 1
