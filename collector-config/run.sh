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

# Of each variable that a file names, its name; of one that looks like one, "name=nearest": whatever begins as the gateway's
# own do, and whatever is two letters from one. Not those that Kubernetes sets in every container for a Service named "gateway".
names=$(sed -n 's/.*${env:\([A-Z_]*\).*/\1/p' "$here"/*.yaml | awk '
    function distance(a, b,    i, j, d, best) {
        for (i = 0; i <= length(a); i++) d[i, 0] = i
        for (j = 0; j <= length(b); j++) d[0, j] = j
        for (i = 1; i <= length(a); i++)
            for (j = 1; j <= length(b); j++) {
                best = d[i - 1, j - 1] + (substr(a, i, 1) != substr(b, j, 1))
                if (d[i - 1, j] + 1 < best) best = d[i - 1, j] + 1
                if (d[i, j - 1] + 1 < best) best = d[i, j - 1] + 1
                d[i, j] = best
            }
        return d[length(a), length(b)]
    }
    { known[$1] }
    END {
        for (name in ENVIRON) {
            if (name in known) { print name; continue }
            own = name ~ /^(GATEWAY|FAN_OUT)_[A-Za-z0-9_]+$/ && name !~ /_SERVICE_(HOST|PORT)/ && name !~ /_PORT_[0-9]/ &&
                !(name ~ /_PORT$/ && ENVIRON[name] ~ /^(tcp|udp|sctp):/)
            least = own ? 99 : 3
            nearest = ""
            for (each in known) {
                away = length(name) - length(each)
                if (!own && (away > 2 || away < -2)) continue
                away = distance(toupper(name), each)
                if (away < least || (away == least && nearest && each < nearest)) { least = away; nearest = each }
            }
            if (nearest) print name "=" nearest
        }
    }')
for name in $names; do
    case $name in
    *=*) fail "${name%=*} is no variable of these files; the nearest is ${name#*=}, and README.md has all" ;;
    esac
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
case ${GATEWAY_METRICS_PORT:-8888} in
*[!0-9]*) fail "GATEWAY_METRICS_PORT='$GATEWAY_METRICS_PORT' is not a number" ;; # so it is after a Service "gateway-metrics"
esac
# What the Collector says of these two names no variable. Their values may be keys, and are not shown.
number='[-+]?(0[xbo][0-9a-fA-F_]+|[0-9][0-9_]*([.][0-9_]*)?([eE][-+]?[0-9]+)?|[.][0-9]+)'
for name in BACKEND_OTLP_HEADERS RELAY_HEADERS; do
    eval "value=\${$name:-null}"
    case $value in
    "["*) fail "$name is a YAML list, and has to be a map such as {authorization: \"Bearer …\"}" ;;
    null | "{"*"}" | *": "*) ;;
    *) fail "$name is not a YAML map such as {authorization: \"Bearer …\"}" ;;
    esac
    if printf %s "$value" | sed "s/\"[^\"]*\"/q/g; s/'[^']*'/q/g" |
        grep -Eq "(^|[{,])[^{,:]*:[[:space:]]+($number|[Tt]rue|TRUE|[Ff]alse|FALSE)[[:space:]]*([,}]|\$)"; then
        fail "$name has a value that is not text: put it in quotes, {x-api-key: \"12345\"}"
    fi
done
if [ -n "${FAN_OUT_TO:-}" ]; then
    case $FAN_OUT_TO in
    "["*"]" | "- "*) ;;
    *) fail "FAN_OUT_TO='$FAN_OUT_TO' is not a YAML list such as [otlp_http/backend, otlp_http/segment]" ;;
    esac
    to=$(printf %s "$FAN_OUT_TO" | tr "[],\"'" '     ' | sed 's/^- / /')
    others="otlp_http/posthog, otlp_http/mixpanel, otlp_http/amplitude, otlp_http/matomo and otlp_http/piwik_pro"
    case $to in *[!\ ]*) ;; *) to=nothing ;; esac
    for name in $to; do
        case $name in
        *[!A-Za-z0-9_/.-]*) known= ;;
        *) known=$(sed -n "s|^  $name:.*|yes|p" "$here"/*.yaml) ;;
        esac
        [ -n "$known" ] || fail "FAN_OUT_TO names '$name'; there are otlp_http/backend, otlp_http/ga4, otlp_http/segment, $others"
    done
fi
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
