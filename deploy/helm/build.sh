#!/bin/sh
# Build helm, and what decodes manifests into Kubernetes' own types, into build/: for tests/deploy/.
#
# Both from Go modules, and kept until the version or the sources change. Needs Go, and about two minutes once.
set -eu

version=v3.16.4
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$root/build
decoder=$root/tests/deploy/manifests

# The content, not its time: a checkout or a cache restored by CI sets times as it likes.
key=$(cat "$0" "$decoder/main.go" "$decoder/go.mod" "$decoder/go.sum" | cksum | tr ' ' -)
if [ -x "$build/helm" ] && [ -x "$build/manifests" ] && [ "$(cat "$build/helm.key" 2>/dev/null)" = "$key" ]; then
    exit 0
fi
command -v go >/dev/null 2>&1 || {
    echo "build.sh: no Go: install it (https://go.dev/dl)" >&2
    exit 2
}
mkdir -p "$build"
echo "build.sh: building helm $version into build/ (once; some minutes)" >&2
export CGO_ENABLED=0 GOFLAGS=-mod=mod GOBIN="$build"
{
    nice go install -trimpath -ldflags "-s -w -X helm.sh/helm/v3/internal/version.version=$version" \
        "helm.sh/helm/v3/cmd/helm@$version" &&
        (cd "$decoder" && GOFLAGS=-mod=readonly nice go build -trimpath -ldflags '-s -w' -o "$build/manifests" .)
} >"$build/helm-build.log" 2>&1 || {
    tail -n 20 "$build/helm-build.log" >&2
    echo "build.sh: the build failed; all of it is in build/helm-build.log" >&2
    exit 1
}
echo "$key" >"$build/helm.key"
