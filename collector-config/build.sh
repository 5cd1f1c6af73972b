#!/bin/sh
# Print the path of a Collector that runs the files beside this script, building it if need be.
#
# OTELCOL=/path uses another binary. Otherwise build/otelcol-usage is built from Go modules by ocb, the Collector's own
# builder, itself run from modules; it is kept until builder.yaml changes. Needs Go, and about three minutes once.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$here/.." && pwd)/build
binary=$build/otelcol-usage
manifest=$here/builder.yaml

if [ -n "${OTELCOL:-}" ]; then
    [ -f "$OTELCOL" ] && [ -x "$OTELCOL" ] || { echo "build.sh: OTELCOL=$OTELCOL is not a program" >&2; exit 2; }
    echo "$OTELCOL"
    exit 0
fi

# The manifest's content, not its time: a checkout or a cache restored by CI sets times as it likes.
key=$(cksum <"$manifest" | tr ' ' -)
if [ -x "$binary" ] && [ "$(cat "$binary.key" 2>/dev/null)" = "$key" ]; then
    echo "$binary"
    exit 0
fi

command -v go >/dev/null 2>&1 || {
    echo "build.sh: no Go: install it (https://go.dev/dl), or name a Collector with OTELCOL=/path" >&2
    exit 2
}

version=v$(sed -n 's/^  version: *//p' "$manifest")
sources=$build/otelcol-sources
mkdir -p "$sources"
echo "build.sh: building the Collector $version into build/ (once; some minutes)" >&2

# ocb writes sources only; compiling is ours, so that it can be polite (nice) and lean (no symbols).
# GOFLAGS: whatever the caller's says, ocb needs to write go.mod.
sed "s|^dist:|&\n  output_path: \"$sources\"|" "$manifest" >"$build/builder.yaml"
GOFLAGS=-mod=mod go run "go.opentelemetry.io/collector/cmd/builder@$version" \
    --config "$build/builder.yaml" --skip-compilation >"$build/otelcol-build.log" 2>&1 &&
    (cd "$sources" && CGO_ENABLED=0 nice go build -trimpath -tags grpcnotrace -ldflags '-s -w' -o "$binary.part" .) \
        >>"$build/otelcol-build.log" 2>&1 || {
    tail -n 20 "$build/otelcol-build.log" >&2
    echo "build.sh: the build failed; all of it is in build/otelcol-build.log" >&2
    exit 1
}
mv "$binary.part" "$binary" # a binary that exists is whole
echo "$key" >"$binary.key"
echo "$binary"
