"""What never leaves by default, whatever attributes were chosen: who somebody is, where, and what they wrote. Pure.

For spans of any OpenTelemetry instrumentation, in the old and the new semantic conventions. Two nets: `holds_back` judges an
attribute by its name, `without_personal` cuts what is personal by its form out of the text that may leave. Neither can know
what a program puts into an attribute of its own with an innocent name: that is why attributes are an allow-list.

Sources: opentelemetry-semantic-conventions 0.66b1, all attributes, and its deprecated ones; what instrumentations of
opentelemetry-python-contrib 0.66b1, OpenLLMetry (``traceloop``, ``llm``), OpenInference (``input.value``), the Vercel AI SDK
(``ai``) and Logfire write; read 2026-11-26.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import ip_address

# {what: names}. "x.*" is x and all below it. Names are compared in lower case, with "." for "_" and before a capital.
FLOOR: dict[str, tuple[str, ...]] = {
    "addresses and names of machines and places": (
        "client.*", "source.*", "destination.*", "network.peer.*", "network.local.*", "network.carrier.*", "net.peer.*",
        "net.sock.*", "net.host.ip", "net.host.carrier.*", "http.client_ip", "peer.address", "peer.hostname", "peer.ip",
        "peer.ipv4", "peer.ipv6", "host.id", "host.ip", "host.mac", "host.name", "device.*", "geo.location.*",
        "geo.postal_code", "geo.locality.*", "dns.*",
        "tls.client.*",
    ),
    "user agents": ("http.user_agent", "user_agent.*", "browser.*"),
    "queries of addresses": ("url.query", "url.fragment", "http.query", "http.query_string"),
    "statements and parameters of databases": (
        "db.statement.*", "db.query.text", "db.query.parameter.*", "db.operation.parameter.*", "db.user", "db.url",
        "db.connection_string", "db.instance.id", "db.params.*", "db.elasticsearch.path_parts.*", "elasticsearch.url",
        "elasticsearch.params",
        "graphql.document", "graphql.source", "graphql.variables.*", "aws.s3.key", "aws.s3.copy_source",
        "aws.dynamodb.*",
    ),
    "command lines, processes, files": (
        "process.command.*", "process.args", "process.pid", "process.parent_pid", "process.vpid", "process.owner",
        "process.title", "process.executable.path", "process.working_directory", "process.environment_variable.*",
        "process.user.*", "process.real_user.*", "process.saved_user.*", "process.group_leader.*",
        "process.session_leader.*", "process.linux.*", "file.*", "log.*", "code.filepath", "code.file.path",
        "code.stacktrace",
    ),
    "users and sessions": (
        "user.*", "enduser.*", "usr.*", "session.*", "mcp.session.id", "feature_flag.context.id", "app.installation.id",
        "db.cosmosdb.client_id",
    ),
    "cookies and headers": (
        "http.request.header.*", "http.response.header.*", "http.request.method_original", "rpc.request.metadata.*",
        "rpc.response.metadata.*", "rpc.grpc.request.metadata.*", "rpc.grpc.response.metadata.*",
        "rpc.connect_rpc.request.metadata.*", "rpc.connect_rpc.response.metadata.*", "rpc.method_original",
    ),
    "bodies, messages, keys of messages, and texts of errors": (
        "http.request.body", "http.response.body", "http.request.body.content", "http.response.body.content",
        "http.request.body.text", "http.response.body.text", "messaging.message.body", "messaging.message.id",
        "messaging.message_id", "messaging.message.conversation_id", "messaging.conversation_id", "messaging.client.id",
        "messaging.client_id", "messaging.consumer_id", "messaging.url", "messaging.kafka.message.key",
        "messaging.kafka.message_key", "messaging.rocketmq.message.keys", "messaging.rocketmq.message.group",
        "messaging.rabbitmq.destination.routing_key", "messaging.rabbitmq.routing_key",
        "messaging.gcp_pubsub.message.ordering_key", "messaging.gcp_pubsub.message.ack_id", "message.body",
        "message.content", "message.text", "exception.message", "exception.stacktrace", "error.message", "error.stack",
        "rpc.jsonrpc.error_message", "otel.status_description", "celery.task_args", "celery.task_kwargs",
        "celery.retry.reason", "celery.revoked.reason", "celery.reply_to", "celery.delivery_info", "body",
    ),
    "prompts, answers and tools' arguments of generative AI": (
        "gen_ai.prompt.*", "gen_ai.completion.*", "gen_ai.input.*", "gen_ai.output.messages", "gen_ai.content.*",
        "gen_ai.system_instructions", "gen_ai.tool.call.*", "gen_ai.tool.definitions", "gen_ai.tool.description",
        "gen_ai.retrieval.*", "gen_ai.evaluation.explanation", "gen_ai.conversation.id", "gen_ai.agent.description",
        "gen_ai.choice.*", "gen_ai.assistant.*", "llm.prompts.*", "llm.completions.*", "llm.input_messages.*",
        "llm.output_messages.*", "llm.prompt_template.*", "traceloop.entity.input", "traceloop.entity.output",
        "input.value", "output.value", "retrieval.documents.*", "embedding.text", "embedding.embeddings.*",
        "ai.prompt.*", "ai.response.*", "ai.toolcall.*", "ai.tool_call.*", "ai.value.*",
        "all_messages_events", "events", "tool_arguments", "tool_response", "request_data", "response_data",
        "logfire.msg", "logfire.json_schema", "mcp.resource.uri",
    ),
}  # fmt: skip
# A name that holds one of these words, whoever writes it: customer.email, X-Api-Token, clientIp. Sizes and numbers may leave.
WORDS = frozenset(
    """authorization birthday body cookie cookies credential credentials email emails fullname hostname iban ip ipaddress ipv4
    ipv6 jwt lastname login mail passphrase passwd password passwords payload phone pid prompt prompts secret ssn stacktrace
    surname telephone token useragent userid username""".split()  # noqa: SIM905
)
_NUMBERS = (".size", ".length", ".count", ".tokens")
# And one that is about a person and ends so: customer_id, app.user.name, billing.address.
_WHO = re.compile(
    r"(^|\.)((account|author|caller|customer|employee|guest|member|owner|patient|people|person|student|user|visitor)s?"
    r"\.(id|ids|key|name|names|number|uuid|guid|hash)|(billing|home|mailing|postal|shipping|street|remote)\.(address|addr)"
    r"|first\.name|last\.name|full\.name|birth\.date|date\.of\.birth|query\.string|command\.line|user\.agent)$"
)
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]{0,20}://)([^\s/?#\"'<>]*@)?([^\s?#\"'<>]*)([?#][^\s\"'<>]*)?")
_PATH = re.compile(r"^(/[^\s?#]*)[?#].*$", re.DOTALL)
_QUERY = re.compile(r"[?#;&][\w.\-\[\]%]+=[^\s&]*")
_EMAIL = re.compile(r"[\w.+\-%]+(@|%40)[\w\-]+(\.[\w\-]+)*\.[A-Za-z]{2,24}\b")
_ADDRESS = re.compile(
    r"(?<![\w:.])(?:(?:\d{1,3}\.){3}\d{1,3}(?![\w.]*\w)|[0-9A-Fa-f:]*:[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*)(?!\w)"
)
MAX_TEXT = 2_000  # characters of a value that are looked at; no vendor takes more


@lru_cache(maxsize=4_096)
def holds_back(name: str) -> bool:
    """True if an attribute of this *name* is one that never leaves by default."""
    dotted = _HUMP.sub(".", name[:200]).replace("_", ".").replace("-", ".").lower()
    if dotted in _NAMES or dotted.startswith(_PREFIXES) or _WHO.search(dotted):
        return True
    return not WORDS.isdisjoint(dotted.split(".")) and not dotted.endswith(_NUMBERS)


def without_personal(text: str) -> str:
    """Return *text* without what is personal by its form.

    Of addresses of the web the user part, the query and the fragment go; e-mail addresses become ``(email)``, and IP addresses
    ``(address)``.

    >>> without_personal("https://ann:pw@example.org/cart?user=7")
    'https://example.org/cart'
    """
    text = text[:MAX_TEXT]
    if "://" in text:
        text = _URL.sub(r"\1\3", text)
    if "?" in text or "#" in text or "=" in text:
        text = _QUERY.sub("", _PATH.sub(r"\1", text))
    if "@" in text or "%40" in text:
        text = _EMAIL.sub("(email)", text)
    if text.count(".") >= 3 or text.count(":") >= 2:
        text = _ADDRESS.sub(_if_address, text)
    return text


def _if_address(match: re.Match[str]) -> str:
    """Return ``(address)`` for an IP address, and all else as it is: a time of day looks much like one."""
    try:
        ip_address(match[0].rstrip("."))
    except ValueError:
        return match[0]
    return "(address)"


def _dotted(names: str) -> str:
    return names.removesuffix(".*").replace("_", ".")


_NAMES = frozenset([_dotted(name) for names in FLOOR.values() for name in names])
_PREFIXES = tuple([_dotted(name) + "." for names in FLOOR.values() for name in names if name.endswith(".*")])
