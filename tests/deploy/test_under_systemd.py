"""The installer and the unit under a real systemd: this machine's own system in a container, over which nothing is written.

`systemd-nspawn` boots it from an overlay, in namespaces of its own. It takes half a minute, so `make faults` runs it.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from rig.programs import find_program, missing

ROOT = Path(__file__).parents[2]
OTHERS = ("docker", "containerd", "redis-server", "docker-registry", "ssh", "systemd-networkd")
SET_UP = """
set -eu
mount -t tmpfs -o mode=755 tmpfs "$PLACE"
mkdir "$PLACE/upper" "$PLACE/work" "$PLACE/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$PLACE/upper,workdir=$PLACE/work" "$PLACE/root"
cd "$PLACE/root"
mkdir -p "./$CHECKOUT"
rm -rf etc/machine-id etc/systemd/system/*.wants var/run/docker.sock opt/homeport etc/homeport var/lib/homeport
mkdir -p etc/systemd/system/multi-user.target.wants
for other in $OTHERS; do ln -sf /dev/null "etc/systemd/system/$other.service"; done
ln -sf /dev/null etc/systemd/system/docker.socket
ln -sf /lib/systemd/system/multi-user.target etc/systemd/system/default.target
printf '%s' "$TRIAL" >root/trial
cat >etc/systemd/system/trial.service <<END
[Unit]
DefaultDependencies=no
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/bash /root/trial
ExecStopPost=/bin/systemctl poweroff
END
ln -s /etc/systemd/system/trial.service etc/systemd/system/multi-user.target.wants/trial.service
timeout 240 systemd-nspawn --quiet --directory="$PLACE/root" --boot --register=no --keep-unit --bind-ro="$CHECKOUT" \
    --console=pipe $SETTINGS </dev/null >boot.out 2>&1 || true
cat said 2>/dev/null || tail -n 20 boot.out
"""
TRIAL = f"""
exec >/said 2>&1
cd {ROOT}
show() {{ systemctl show homeport -p "$1" --value; }}
deploy/install.sh >/dev/null; echo "install $?"
first=$(show MainPID); deploy/install.sh >/dev/null; echo "again $([ "$first" = "$(show MainPID)" ] && echo untouched)"
echo "ready $(show ActiveState) $(show StatusText)"
systemctl stop homeport; echo "stop $(show Result) $(show ExecMainStatus)"
mkdir -p /etc/systemd/system/homeport.service.d
printf '[Service]\\nWatchdogSec=3\\n' >/etc/systemd/system/homeport.service.d/watchdog.conf
systemctl daemon-reload; systemctl start homeport; sleep 7; echo "fed $(show NRestarts)"
kill -STOP "$(show MainPID)"; sleep 9; echo "stuck $(show NRestarts) $(show ActiveState)"
rm /etc/systemd/system/homeport.service.d/watchdog.conf
groupadd --force docker
useradd --system --home-dir /var/lib/homeport --no-create-home --shell /usr/sbin/nologin --groups docker homeport
mkdir -p /var/lib/homeport/apps/web/data; touch /var/lib/homeport/apps/web/.env
chown 999 /var/lib/homeport/apps/web/data
chown -R homeport: /var/lib/homeport/state; chgrp homeport /etc/homeport/homeport.toml
chown homeport: /var/lib/homeport /var/lib/homeport/apps /var/lib/homeport/apps/*/ /var/lib/homeport/apps/*/.env
install -D -m 644 deploy/homeport-user.conf /etc/systemd/system/homeport.service.d/user.conf
systemctl daemon-reload; systemctl restart homeport; echo "user $(show ActiveState) $(ps -o user= -p "$(show MainPID)")"
echo "data $(stat -c %u /var/lib/homeport/apps/web/data)"
deploy/uninstall.sh >/dev/null; echo "uninstall $? $(show ActiveState) $(show LoadState)"
echo "left $(ls -d /var/lib/homeport/apps /etc/homeport/homeport.toml | wc -l) $(ls -d /opt/homeport 2>/dev/null | wc -l)"
"""


@pytest.mark.slow
def test_it_is_installed_started_watched_and_taken_away_by_a_real_systemd(tmp_path: Path) -> None:
    find_program("systemd-nspawn", "systemd-container")
    if os.geteuid() != 0:
        missing("needs root, to boot a system in a container")
    place = tmp_path / "place"
    place.mkdir()
    settings = " ".join(
        f"--setenv={name}={value}" for name, value in os.environ.items() if name.startswith("PIP_")
    )
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "bash", "-c", SET_UP], stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False, timeout=300,
        env={
            **os.environ, "PLACE": str(place), "CHECKOUT": str(ROOT), "OTHERS": " ".join(OTHERS), "TRIAL": TRIAL,
            "SETTINGS": settings,
        },
    )  # fmt: skip
    said = dict(line.partition(" ")[::2] for line in done.stdout.splitlines())
    if "install" not in said:
        missing(f"no system can be booted in a container here: {(done.stdout + done.stderr)[-500:]}")
    assert said["install"] == "0", done.stdout
    assert said["ready"].startswith("active 0 apps; the engine cannot be reached")
    assert said["again"] == "untouched", "installing again what is there does not even restart the service"
    assert said["stop"] == "success 0"
    assert said["fed"] == "0", "a service that is well is left alone"
    assert said["stuck"] == "1 active", "one that is stuck is started anew"
    assert said["user"] == "active homeport"
    assert said["data"] == "999", "what an app's containers keep is theirs"
    assert said["uninstall"] == "0 inactive not-found"
    assert said["left"] == "2 0"
