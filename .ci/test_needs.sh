#!/usr/bin/env bash
# Installs the programs that the tests drive besides Python: a browser, Chinese fonts, independent MQTT and Modbus peers, a C compiler, and what judges the systemd unit.
set -euo pipefail
wanted=()
command -v chromium >/dev/null || wanted+=(chromium)
command -v mosquitto >/dev/null || [ -x /usr/sbin/mosquitto ] || wanted+=(mosquitto)
command -v mosquitto_pub >/dev/null || wanted+=(mosquitto-clients)
command -v mbpoll >/dev/null || wanted+=(mbpoll)
command -v gcc >/dev/null || wanted+=(gcc libc6-dev)
command -v make >/dev/null || wanted+=(make)
[ -e /usr/include/modbus/modbus.h ] || wanted+=(libmodbus-dev)
command -v systemd-analyze >/dev/null || wanted+=(systemd)
grep -qi "noto.*cjk" <(fc-list 2>/dev/null) || wanted+=(fonts-noto-cjk fontconfig)
[ ${#wanted[@]} -eq 0 ] && exit 0

echo "installing what the tests drive: ${wanted[*]}"
if [ "$(id -u)" = 0 ]; then as_root=(); else as_root=(sudo -n); fi
if ! { "${as_root[@]}" apt-get update -qq &&
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq "${wanted[@]}" >/dev/null; }; then
    echo "They could not be installed. Run: sudo apt-get install ${wanted[*]}" >&2
    exit 1
fi
