#!/bin/sh
# Unpack a Python that the system does not have from Debian's packages into build/python<version>, beside the system:
# nothing is installed. Usage: sh tests/bench/unpack-python.sh 3.14 [suite, sid by default]
set -eu
version=${1:?which version, such as 3.14}
suite=${2:-sid}
root=$(cd "$(dirname "$0")/../.." && pwd)/build/python$version
lists=$(mktemp -d)
trap 'rm -rf "$lists"' EXIT
site=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep '/debian$' | head -n 1)
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site $suite main" >"$lists/sources.list"
mkdir -p "$lists/lists/partial" "$lists/archives/partial" "$root"
set -- -qq -o "Dir::Etc::sourcelist=$lists/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$lists/lists" \
    -o "Dir::Cache=$lists" -o APT::Sandbox::User=root
apt-get "$@" update
(cd "$lists" && apt-get "$@" download "python$version" "python$version-minimal" "libpython$version-stdlib" \
    "libpython$version-minimal" libc6 libexpat1 zlib1g libssl3t64 libffi8 libbz2-1.0 liblzma5 libsqlite3-0 libuuid1 \
    libgcc-s1 libzstd1 libncursesw6 libtinfo6 libreadline8t64 libdb5.3t64 libcrypt1)
for package in "$lists"/*.deb; do dpkg-deb -x "$package" "$root"; done
command -v patchelf >/dev/null || apt-get -qq install -y patchelf
libraries=$root/usr/lib/x86_64-linux-gnu
patchelf --set-interpreter "$libraries/ld-linux-x86-64.so.2" --force-rpath --set-rpath "$libraries" "$root/usr/bin/python$version"
"$root/usr/bin/python$version" --version
