#!/usr/bin/env bash
# Installs Homeport as a service on Debian (12 or newer) or Ubuntu (24.04 or newer), from this checkout. As root:
#
#   deploy/install.sh              installs, or upgrades what an earlier one installed; run twice, it changes nothing
#   deploy/install.sh --dry-run    says what it would do, and does nothing
#   deploy/install.sh --notify     with the library for `homeport run --notify` (Apprise)
#   deploy/install.sh --no-start   neither enables nor starts the service
#   deploy/install.sh --root DIR   into that folder instead of /; installs no packages and starts nothing
#
# PYTHON=python3.12 names another Python than python3. Each release is a folder of its own in /opt/homeport/releases;
# one that cannot be installed leaves the present one as it is. deploy/uninstall.sh takes all of it away again.
#
# Exit status: 0 fine, 1 a step failed, 2 wrong use, 3 this machine lacks something that cannot be had.
set -euo pipefail
umask 022

here=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
root='' dry=false start=true extra='' changed=false

say() { printf 'install: %s\n' "$*"; }
give_up() {
    printf 'install: %s\n' "$2" >&2
    exit "$1"
}
usage() {
    sed -n 's/^# \{0,1\}//; 2,13p' "$0" >&2
    exit 2
}
# Does it, or says that it would.
run() {
    if $dry; then say "would run: $*"; else "$@"; fi
}

while [ $# -gt 0 ]; do
    case $1 in
    --dry-run) dry=true ;;
    --notify) extra='[notify]' ;;
    --no-start) start=false ;;
    --root)
        if [ $# -lt 2 ] || [ ! -d "$2" ]; then give_up 2 "--root wants a folder that is there"; fi
        root=$(cd "$2" && pwd)
        [ "$root" != / ] || root=''
        shift
        ;;
    *) usage ;;
    esac
    shift
done
opt=$root/opt/homeport

# ---- what this machine has to have ----

# Installs these packages of Debian; `--root` is for what is there already.
packages() {
    [ -z "$root" ] || give_up 3 "missing, and --root installs no packages: $*"
    command -v apt-get >/dev/null || give_up 3 "this is no Debian-like system: install by hand what Debian calls $*"
    say "installing with apt-get: $*"
    run env DEBIAN_FRONTEND=noninteractive apt-get -q update
    run env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "$@"
}

if ! $dry && [ -z "$root" ] && [ "$(id -u)" -ne 0 ]; then
    give_up 3 "this needs root: sudo $0"
fi
command -v "$python" >/dev/null || packages python3 python3-venv
# In a dry run it may be that nothing was installed.
if command -v "$python" >/dev/null; then
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        give_up 3 "$("$python" --version) is older than 3.11; install a newer one and name it: PYTHON=python3.12 $0"
    "$python" -c 'import ensurepip, venv' 2>/dev/null || packages python3-venv
fi
if ! command -v dockerd >/dev/null && [ ! -S /var/run/docker.sock ] && [ -z "${DOCKER_HOST:-}" ]; then
    if [ -n "$root" ]; then
        say "no Docker engine here; Homeport will wait for one"
    else
        packages docker.io iptables
    fi
fi

# ---- the program ----

version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$here/controller/__init__.py")
[ -n "$version" ] || give_up 1 "there is no Homeport in $here"
source_files=(LICENSE README.md constraints.txt pyproject.toml setup.cfg)
digest=$(cd "$here" && {
    printf '%s\n' "$extra"
    find controller "${source_files[@]}" -type f ! -name '*.pyc' | LC_ALL=C sort | xargs sha256sum
} | sha256sum)
release=$opt/releases/$version-${digest:0:12}

if [ -x "$release/bin/homeport" ] && "$release/bin/homeport" --help >/dev/null 2>&1; then
    say "Homeport $version is installed already, in $release"
elif $dry; then
    say "would install Homeport $version into $release"
else
    say "installing Homeport $version into $release"
    rm -rf "$release"
    work=$(mktemp -d)
    trap 'rm -rf "$work" "$release.failed"' EXIT
    # From a copy, without what an earlier build left: that would find its way into the package.
    mkdir "$work/source"
    (cd "$here" && cp -a "${source_files[@]}" controller "$work/source/")
    mkdir -p "$opt/releases"
    "$python" -m venv "$release"
    if ! "$release/bin/python" -m pip --disable-pip-version-check --quiet install \
        --constraint "$here/constraints.txt" "$work/source$extra" || ! "$release/bin/homeport" --help >/dev/null; then
        mv -T "$release" "$release.failed"
        give_up 1 "it could not be installed (see above); what was installed before is as it was"
    fi
fi
if ! $dry && [ "$(readlink "$opt/current" 2>/dev/null)" != "releases/${release##*/}" ]; then
    # Where an upgrade went wrong, the release before is one link away.
    before=$(readlink "$opt/current" 2>/dev/null || true)
    ln -sfn "releases/${release##*/}" "$opt/current.new"
    mv -T "$opt/current.new" "$opt/current"
    changed=true
    for old in "$opt"/releases/*; do
        case releases/${old##*/} in "releases/${release##*/}" | "$before") ;; *) rm -rf "$old" ;; esac
    done
fi

# ---- what lies around it ----

# place SOURCE TARGET MODE: copies it when it is another one.
place() {
    if cmp -s "$1" "$2"; then return; fi
    run install -D -m "$3" "$1" "$2"
    changed=true
}

place "$here/deploy/homeport.service" "$root/etc/systemd/system/homeport.service" 644
# Settings, how long logs are kept, the apps and the state are the machine's own: made once and never touched again.
[ -e "$root/etc/logrotate.d/homeport" ] ||
    run install -D -m 644 "$here/deploy/logrotate.conf" "$root/etc/logrotate.d/homeport"
[ -e "$root/etc/homeport/homeport.toml" ] ||
    run install -D -m 640 "$here/deploy/homeport.toml" "$root/etc/homeport/homeport.toml"
[ -d "$root/var/lib/homeport/apps" ] || run install -d -m 755 "$root/var/lib/homeport/apps"
[ -d "$root/var/lib/homeport/state" ] || run install -d -m 700 "$root/var/lib/homeport/state"
command=$root/usr/local/bin/homeport
if [ -e "$command" ] && [ ! -L "$command" ]; then
    say "$command is another program, and stays; this one is $opt/current/bin/homeport"
else
    [ -d "${command%/*}" ] || run install -d -m 755 "${command%/*}"
    [ "$(readlink "$command" 2>/dev/null)" = /opt/homeport/current/bin/homeport ] ||
        run ln -sfn /opt/homeport/current/bin/homeport "$command"
fi

# ---- the service ----

if [ -n "$root" ]; then
    if $start && command -v systemctl >/dev/null; then run systemctl --quiet --root="$root" enable homeport.service; fi
elif [ -d /run/systemd/system ]; then
    if $changed; then run systemctl daemon-reload; fi
    if $start; then
        run systemctl --quiet enable homeport.service
        if $changed || ! systemctl --quiet is-active homeport.service; then run systemctl restart homeport.service; fi
    fi
else
    say "there is no systemd here: start it with \`homeport run\`, by whatever starts services on this machine"
fi
if $dry; then exit 0; fi

cat <<END

Homeport $version is installed. What to do next:

  homeport doctor                       is this machine fit; each thing that is not comes with its fix
  homeport status                       one line for each app
  homeport install FOLDER               a first app; \`homeport init FOLDER\` makes one of a folder with a compose file
  journalctl -u homeport -f             what the service says
  \$EDITOR /etc/homeport/homeport.toml   settings; \`homeport run --help\` lists them. Then: systemctl restart homeport
  homeport --help                       all commands, and how to have the shell complete them: docs/operating.md

An upgrade: \`git pull\` and this script again. Taking it away: deploy/uninstall.sh (apps and data stay).
END
