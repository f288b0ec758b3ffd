#!/usr/bin/env bash
# Takes away what deploy/install.sh has installed, as root. The apps run on; their folders, their data, the state and
# the settings stay where they are, and it is said where.
#
#   deploy/uninstall.sh [--dry-run] [--root DIR]
#
# Exit status: 0 fine, 1 a step failed, 2 wrong use, 3 it needs root.
set -euo pipefail

root='' dry=false

say() { printf 'uninstall: %s\n' "$*"; }
give_up() {
    printf 'uninstall: %s\n' "$2" >&2
    exit "$1"
}
run() {
    if $dry; then say "would run: $*"; else "$@"; fi
}

while [ $# -gt 0 ]; do
    case $1 in
    --dry-run) dry=true ;;
    --root)
        if [ $# -lt 2 ] || [ ! -d "$2" ]; then give_up 2 "--root wants a folder that is there"; fi
        root=$(cd "$2" && pwd)
        [ "$root" != / ] || root=''
        shift
        ;;
    *)
        sed -n 's/^# \{0,1\}//; 2,7p' "$0" >&2
        exit 2
        ;;
    esac
    shift
done
if ! $dry && [ -z "$root" ] && [ "$(id -u)" -ne 0 ]; then
    give_up 3 "this needs root: sudo $0"
fi
opt=$root/opt/homeport
unit=$root/etc/systemd/system/homeport.service

if [ -e "$unit" ]; then
    if [ -n "$root" ]; then
        if command -v systemctl >/dev/null; then run systemctl --quiet --root="$root" disable homeport.service; fi
    elif [ -d /run/systemd/system ]; then
        # It ends what it is in the middle of, within 45 seconds; no app is stopped.
        run systemctl --quiet disable --now homeport.service
    fi
    run rm -f "$unit"
    if [ -z "$root" ] && [ -d /run/systemd/system ]; then run systemctl daemon-reload; fi
fi
command=$root/usr/local/bin/homeport
if [ "$(readlink "$command" 2>/dev/null)" = /opt/homeport/current/bin/homeport ]; then run rm -f "$command"; fi
run rm -f "$root/etc/logrotate.d/homeport" "$opt/current"
# Whatever else somebody has put into /opt/homeport stays.
run rm -rf "$opt/releases"
if [ -d "$opt" ]; then run rmdir --ignore-fail-on-non-empty "$opt"; fi
if $dry; then exit 0; fi

say 'Homeport is gone. The apps run on, as the engine keeps them. What is left, and how to be rid of it:'
left() {
    if [ -e "$root$1" ]; then printf '  %-40s %s\n' "$root$1" "$2"; fi
}
left /var/lib/homeport/apps 'the apps, each a folder for docker compose: "docker compose down" in it stops one'
left /var/lib/homeport/state 'what Homeport remembers; of no use to anything else'
left /var/log/homeport 'logs'
left /etc/homeport 'settings'
left /etc/systemd/system/homeport.service.d 'what you have added to the unit'
printf '  %-40s %s\n' 'volumes, images, the engine' 'untouched: docker volume ls, docker image ls'
