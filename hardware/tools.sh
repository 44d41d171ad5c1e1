#!/usr/bin/env bash
# Installs the programs that the hardware checks drive besides Python: graphs, symbols, solids, a C compiler, Modbus. Only what is missing.
set -euo pipefail
wanted=()
command -v dot >/dev/null || wanted+=(graphviz)
command -v openscad >/dev/null || wanted+=(openscad)
[ -d /usr/share/kicad/symbols ] || wanted+=(kicad-symbols)
command -v mbpoll >/dev/null || wanted+=(mbpoll)
command -v gcc >/dev/null || wanted+=(gcc libc6-dev)
command -v make >/dev/null || wanted+=(make)
[ -e /usr/include/modbus/modbus.h ] || wanted+=(libmodbus-dev)
[ ${#wanted[@]} -eq 0 ] && exit 0

echo "installing what the hardware checks drive: ${wanted[*]}"
if [ "$(id -u)" = 0 ]; then as_root=(); else as_root=(sudo -n); fi
if ! { "${as_root[@]}" apt-get update -qq &&
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${wanted[@]}" >/dev/null; }; then
    echo "They could not be installed. Run: sudo apt-get install ${wanted[*]}" >&2
    exit 1
fi
