#!/bin/sh
# Print the path of a Prometheus 3 that `python -m tests.bench prometheus` queries, building it if need be.
#
# It is built once from its Go module into build/, as the Collector is. Without service discovery of clouds, and without the
# pages that its module leaves out; its HTTP API is whole. Needs Go, and about four minutes.
set -eu

version=v0.316.0 # the module's number for Prometheus 3.16.0
build=$(cd "$(dirname "$0")/../.." && pwd)/build
binary=$build/prometheus-$version/prometheus

[ -x "$binary" ] || {
    command -v go >/dev/null 2>&1 || { echo "build-prometheus.sh: no Go: install it (https://go.dev/dl)" >&2; exit 2; }
    echo "build-prometheus.sh: building Prometheus $version into build/ (once; some minutes)" >&2
    GOFLAGS=-mod=mod GOBIN="$build/prometheus-$version" CGO_ENABLED=0 nice go install -trimpath -tags remove_all_sd \
        -ldflags '-s -w' "github.com/prometheus/prometheus/cmd/prometheus@$version" >"$build/prometheus-build.log" 2>&1 || {
        tail -n 20 "$build/prometheus-build.log" >&2
        exit 1
    }
}
echo "$binary"
