"""Write OTLP JSON as text, by hand: what every recorded run needs of it. The rest is in otlp_events.py.

FORMAT  One ``TracesData`` or ``MetricsData`` object per line, one resource and one scope in it, ASCII, ended by a newline.
Source: OpenTelemetry protocol file exporter specification, "JSON lines file"; OTLP/JSON encoding (hexadecimal ids,
64-bit integers as text).
"""

from .. import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def quote(text):
    # type: (str) -> str
    """Return *text* as a JSON string."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return '"' + text + '"'
    from _json import encode_basestring_ascii  # a shared object, 0.45 M instructions: loaded only when needed

    return encode_basestring_ascii(text)


def line(signal, inner, resource, body):
    # type: (str, str, str, str) -> bytes
    """Return one line of an OTLP file: one resource, one scope. signal: ``Spans`` or ``Metrics``; inner: its list.

    resource and body are OTLP JSON lists already, without their brackets.
    """
    return (
        f'{{"resource{signal}":[{{"resource":{{"attributes":[{resource}]}},'
        f'"scope{signal}":[{{"scope":{{"name":"otel_usage","version":"{__version__}"}},"{inner}":[{body}]}}]}}]}}\n'
    ).encode("ascii", "replace")


def resource_attributes(app, version, runtime, runtime_version):
    # type: (str, str, str, str) -> str
    """Return the resource's attributes that a program knows of itself; the sender adds the others."""
    return (
        f'{{"key":"service.name","value":{{"stringValue":{quote(app)}}}}},'
        f'{{"key":"service.version","value":{{"stringValue":{quote(version[:64])}}}}},'
        f'{{"key":"process.runtime.name","value":{{"stringValue":"{runtime}"}}}},'
        f'{{"key":"process.runtime.version","value":{{"stringValue":"{runtime_version}"}}}}'
    )


def run_attributes(app, command, options, ending, ci, tty, agent, surface):
    # type: (str, str, Sequence[str], tuple[int | None, str, str], bool, bool, str, str) -> str
    """Return the attributes of a run's span. The only place that writes them: `otel.py` reads them back from here.

    ending: what `Run.ending` returns. Written out, since putting them together from pairs costs ten times as much.
    """
    code, outcome, error = ending
    names = ""
    for option in options:
        names += (names and ",") + '{"stringValue":' + quote(option) + "}"
    return (
        f'{{"key":"usage.kind","value":{{"stringValue":"run"}}}},'
        f'{{"key":"usage.command","value":{{"stringValue":{quote(command)}}}}},'
        f'{{"key":"usage.outcome","value":{{"stringValue":"{outcome}"}}}},'
        f'{{"key":"usage.options","value":{{"arrayValue":{{"values":[{names}]}}}}}},'
        f'{{"key":"process.executable.name","value":{{"stringValue":{quote(app)}}}}},'
        + ("" if code is None else f'{{"key":"process.exit.code","value":{{"intValue":"{code}"}}}},')
        + (f'{{"key":"error.type","value":{{"stringValue":{quote(error)}}}}},' if error else "")
        + f'{{"key":"usage.ci","value":{{"boolValue":{"true" if ci else "false"}}}}},'
        f'{{"key":"usage.tty","value":{{"boolValue":{"true" if tty else "false"}}}}},'
        f'{{"key":"usage.surface","value":{{"stringValue":"{surface}"}}}}'
        + (f',{{"key":"usage.agent","value":{{"stringValue":"{agent}"}}}}' if agent else "")
    )


def span_name(app, command):
    # type: (str, str) -> str
    """Return the name of a run's span: ``mycli report upload``."""
    return app if command == "(root)" else app + " " + command
