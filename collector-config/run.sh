#!/bin/sh
# Start the Collector with files beside this script: `run.sh gateway.yaml fan-out.yaml`. With --validate first, only look.
#
# The variables are looked at before, for what the Collector takes without a word. Above all: a variable set to nothing,
# as by `GATEWAY_HTTP=` in a file of variables or Docker Compose's `GATEWAY_HTTP: ${GATEWAY_HTTP}`, counts as not set. To
# the Collector it is a value, and an empty address means every interface of the machine, at a random port.
#
# OTELCOL=/path names the Collector, otherwise it is build/otelcol-usage.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
fail() {
    echo "run.sh: $*" >&2
    exit 2
}

only=
if [ "${1:-}" = --validate ]; then
    only=validate
    shift
fi
[ $# -gt 0 ] || fail "no file: name gateway.yaml, and those to lay over it"
files=" $* "
has() { case $files in *" $1 "*) ;; *) return 1 ;; esac }

otelcol=${OTELCOL:-$here/../build/otelcol-usage}
[ -f "$otelcol" ] && [ -x "$otelcol" ] || fail "no Collector at '$otelcol': make collector builds one, OTELCOL=/path names one"

for name in $(env | sed -En 's/^((GATEWAY|RELAY|BACKEND_OTLP)_[A-Z_]+|FAN_OUT_TO)=.*/\1/p'); do
    eval "value=\${$name-}"
    case $value in
    "")
        echo "run.sh: $name is set to nothing, taken as not set" >&2
        unset "$name"
        ;;
    *'$$'* | *'${'*) fail "$name holds \$\$ or \${, which the Collector would replace" ;;
    esac
done

url() {
    case $2 in
    *[[:space:]]*) fail "$1='$2' holds a space" ;;
    http://?* | https://?*) ;;
    *) fail "$1='$2' is not a URL such as https://otlp.example.org" ;;
    esac
}
address() {
    case $2 in
    *[[:space:]]* | :* | *:) ;;
    *:*) return ;;
    esac
    fail "$1='$2' is not HOST:PORT; 127.0.0.1:4318 is this machine only, 0.0.0.0:4318 every interface"
}
[ -n "${BACKEND_OTLP_ENDPOINT:-}" ] || fail "BACKEND_OTLP_ENDPOINT is not set; without a backend: http://unused, and FAN_OUT_TO"
url BACKEND_OTLP_ENDPOINT "$BACKEND_OTLP_ENDPOINT"
url RELAY_ENDPOINT "${RELAY_ENDPOINT:-http://127.0.0.1:4319}"
address GATEWAY_HTTP "${GATEWAY_HTTP:-127.0.0.1:4318}"
address GATEWAY_GRPC "${GATEWAY_GRPC:-127.0.0.1:4317}"
address GATEWAY_HEALTH "${GATEWAY_HEALTH:-127.0.0.1:13133}"
case ${GATEWAY_STORAGE:-/} in
/*) ;;
*) fail "GATEWAY_STORAGE='$GATEWAY_STORAGE' is not an absolute path" ;;
esac
if has token.yaml; then
    case ${GATEWAY_TOKEN:-} in
    "") fail "token.yaml needs GATEWAY_TOKEN" ;;
    *[!A-Za-z0-9._~+/=-]*) fail "GATEWAY_TOKEN holds a character that a bearer token can't have (RFC 6750)" ;;
    esac
fi
if has tls.yaml; then
    for name in GATEWAY_TLS_CERT GATEWAY_TLS_KEY; do
        eval "value=\${$name-}"
        [ -f "$value" ] && [ -r "$value" ] || fail "tls.yaml needs $name, a file that can be read; it is '$value'"
    done
fi

for file; do
    [ -f "$here/$file" ] || fail "no file '$file' beside run.sh"
    set -- "$@" "--config=$here/$file"
    shift
done
exec "$otelcol" $only "$@"
