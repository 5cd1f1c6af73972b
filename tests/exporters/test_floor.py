"""What never leaves by default: attributes by their names, and what is personal by its form in the texts of others."""

from __future__ import annotations

import pytest
from otel_usage_exporters.floor import FLOOR, holds_back, without_personal
from otel_usage_exporters.span_choice import DEFAULT_ATTRIBUTES

# Old and new semantic conventions, and what other instrumentations write. Written from their documents, not from floor.py.
PERSONAL = """
    client.address client.port client.socket.address source.address destination.address network.peer.address net.peer.ip
    net.peer.name net.sock.peer.addr net.sock.host.addr http.client_ip host.name host.ip host.mac device.id geo.location.lat
    http.user_agent user_agent.original user_agent.name browser.brands url.query url.fragment
    db.statement db.statement.parameters db.query.text db.query.parameter.0 db.operation.parameter.id db.user
    db.connection_string db.elasticsearch.path_parts.index graphql.document graphql.variables.email
    process.command process.command_line process.command_args process.pid process.parent_pid process.owner
    process.executable.path process.working_directory process.environment_variable.HOME process.user.name
    enduser.id enduser.pseudo.id enduser.role enduser.scope user.id user.email user.full_name user.hash user.name user.roles
    session.id session.previous_id mcp.session.id gen_ai.conversation.id
    http.request.header.cookie http.request.header.x_forwarded_for http.response.header.set_cookie
    rpc.grpc.request.metadata.authorization rpc.request.metadata.x
    http.request.body http.response.body.content messaging.message.body messaging.kafka.message.key messaging.message.id
    messaging.rabbitmq.destination.routing_key exception.message exception.stacktrace error.message
    rpc.jsonrpc.error_message file.path log.record.original code.filepath code.file.path
    gen_ai.prompt gen_ai.prompt.0.content gen_ai.completion gen_ai.completion.0.content gen_ai.input.messages
    gen_ai.output.messages gen_ai.system_instructions gen_ai.tool.call.arguments gen_ai.tool.call.result
    gen_ai.tool.definitions gen_ai.retrieval.query.text gen_ai.retrieval.documents llm.prompts.0.content
    llm.input_messages.0.message.content input.value output.value traceloop.entity.input ai.prompt.messages
    ai.response.text ai.toolCall.args all_messages_events tls.client.subject dns.question.name
    customer.email customerEmail X-Api-Token app.password clientIp order.customer_id billing.address first_name
    phone auth.jwt user_id account.number
""".split()  # noqa: SIM905
INNOCENT = """
    http.request.method http.route http.response.status_code http.request.body.size db.system db.collection.name db.sql.table
    messaging.system messaging.message.body.size rpc.method gen_ai.request.model gen_ai.usage.input_tokens
    gen_ai.usage.prompt_tokens gen_ai.token.type.count order.channel cart.items customer.plan app.name service.name email.count
    feature_flag.key process.exit.code process.runtime.name url.template url.scheme error.type code.function.name
""".split()  # noqa: SIM905


@pytest.mark.parametrize("name", PERSONAL)
def test_personal_attributes_are_held_back(name):
    """Addresses, user agents, queries, statements, command lines, users, headers, bodies, prompts, by old and new names."""
    assert holds_back(name)


@pytest.mark.parametrize("name", INNOCENT)
def test_others_may_be_chosen(name):
    """What counts requests, calls and orders is not held back."""
    assert not holds_back(name)


def test_nothing_standard_is_held_back():
    """What leaves unless something else is chosen does leave."""
    assert [] == [name for name in DEFAULT_ATTRIBUTES if holds_back(name)]


def test_every_row_holds_back_what_it_names():
    """Each name of the table, as it stands, and below it where it says so."""
    names = [name for row in FLOOR.values() for name in row]

    assert [] == [name for name in names if not holds_back(name.replace("*", "x"))]
    assert [] == [name for name in names if not holds_back(name.removesuffix(".*"))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://ann:p@ss@example.org:8443/cart?user=7#top", "https://example.org:8443/cart"),
        ("GET https://example.org/a?b=c now", "GET https://example.org/a now"),
        ("postgresql://ann:pw@db.internal/shop?sslmode=require", "postgresql://db.internal/shop"),
        ("/orders/7?email=a&b=c", "/orders/7"),
        ("/orders/7?ann", "/orders/7"),
        ("search?q=ann&page=2", "search"),
        ("mail to ann.lee+x@mail.example.org!", "mail to (email)!"),
        ("https://example.org/users/ann%40example.org", "https://example.org/users/(email)"),
        ("127.0.0.1", "(address)"),
        ("10.1.2.3:8080", "(address):8080"),
        ("from 10.1.2.3 to ::1", "from (address) to (address)"),
        ("2001:db8::8a2e:370:7334", "(address)"),
        ("::ffff:10.1.2.3", "(address)"),
        ("at 12:30:45", "at 12:30:45"),
        ("a:b:c", "a:b:c"),
        ("1.2.3", "1.2.3"),
        ("@scope/name@1.2.3", "@scope/name@1.2.3"),
        ("really? yes", "really? yes"),
        ("web", "web"),
        ("", ""),
    ],
)
def test_what_is_personal_by_its_form(text, expected):
    """Queries and user parts of web addresses, e-mail and IP addresses are cut out of the texts that may leave."""
    assert expected == without_personal(text)


def test_a_huge_text_costs_little():
    """No text is looked at without bound: a pattern that is tried at each character would take minutes."""
    assert len(without_personal("a" * 5_000_000 + "@?=:::://....")) <= 2_000
    assert len(without_personal("a@" * 2_000_000 + "://....?=:::")) <= 10_000
