#!/bin/sh
# Print the path of a tool that checks a file of this folder, building it into build/ if need be: promtool, compose, dockerfile.
#
# Each comes from a registry: promtool (without service discovery of clouds) and compose's own loader as Go modules, the
# Dockerfile's validator from npm. Needs Go or node, and some minutes once: promtool takes four minutes of two cores.
set -eu

tool=$1
build=$(cd "$(dirname "$0")/.." && pwd)/build/deploy-tools
promtool=v0.316.0 # the module's number for Prometheus 3.16.0
compose=v2.9.0
mkdir -p "$build"

install_go() { # folder, module, program
    [ -x "$build/$1/$3" ] && return
    command -v go >/dev/null 2>&1 || { echo "tools.sh: no Go: install it (https://go.dev/dl)" >&2; exit 2; }
    GOFLAGS=-mod=mod GOBIN="$build/$1" CGO_ENABLED=0 nice go install -trimpath -tags remove_all_sd -ldflags '-s -w' "$2" \
        >"$build/$1.log" 2>&1 || { tail -n 20 "$build/$1.log" >&2; exit 1; }
}

case $tool in
promtool)
    install_go "promtool-$promtool" "github.com/prometheus/prometheus/cmd/promtool@$promtool" promtool
    echo "$build/promtool-$promtool/promtool"
    ;;
compose)
    install_go "compose-$compose" "github.com/compose-spec/compose-go/v2/cmd@$compose" cmd
    echo "$build/compose-$compose/cmd"
    ;;
dockerfile)
    [ -d "$build/node_modules/dockerfile-utils" ] ||
        (cd "$build" && npm install --no-save --ignore-scripts --no-audit --no-fund --silent dockerfile-utils@0.16.3 >&2)
    echo "$build/node_modules/dockerfile-utils"
    ;;
*)
    echo "tools.sh: $tool is not promtool, compose or dockerfile" >&2
    exit 2
    ;;
esac
