#!/usr/bin/env bash
# Builds the environment in $VENV from requirements.lock; needs Python 3.11 or newer. Prints what it does.
set -euo pipefail
cd "$(dirname "$0")/.."
python="${PYTHON:-python3}" venv="${VENV:-.venv}"

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "CampusTap needs Python 3.11 or newer; $python is $("$python" --version 2>&1)." >&2
    exit 1
}
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    echo "[1/3] Python's venv module is missing: installing the python3-venv package"
    if [ "$(id -u)" = 0 ]; then as_root=(); else as_root=(sudo -n); fi
    if ! { "${as_root[@]}" apt-get update -qq && "${as_root[@]}" apt-get install -y -qq python3-venv >/dev/null; }; then
        echo "It could not be installed. Run: sudo apt-get install python3-venv" >&2
        exit 1
    fi
fi
echo "[1/3] making the environment in $venv"
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
echo "[2/3] installing the pinned packages (about half a minute on the first run)"
pip=("$venv/bin/python" -m pip install -qq --disable-pip-version-check --require-hashes -r)
# uv, itself one of the pinned packages, takes a quarter of pip's time; where it finds no packages, pip's settings may
if ! { "${pip[@]}" <(sed -n '/^uv==/,/[^\\]$/p' requirements.lock) &&
    UV_SYSTEM_CERTS=1 "$venv/bin/uv" pip install -q --python "$venv/bin/python" --require-hashes -r requirements.lock 2>/dev/null; }; then
    echo "      uv did not reach the packages: pip goes on (a few minutes)"
    "${pip[@]}" requirements.lock
fi
echo "[3/3] installing CampusTap"
"$venv/bin/python" -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
