"""No shell ever reads a value: what is in a manifest or in `.env` is data wherever it goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.source import dotenv
from rig.service import SLEEPER, Home
from rig.waiting import wait_until

pytestmark = [pytest.mark.engine, pytest.mark.fault("C05")]

PROVIDER_HOOK = """\
env > /seen
printf '%s' "$FURTKA_CONSUMER_VERSION" > /version
echo 'FURTKA_JSON: {"MADE": "$(touch /pwned HOST) `touch /pwned` ; touch /pwned"}'
echo 'LINE=$(touch /pwned HOST)`touch /pwned`'
"""


def hostile(marker: Path) -> dict[str, str]:
    """Values that do something as soon as a shell, Compose or a template reads them as more than text."""
    act = f"touch {marker} /pwned"
    return {
        f"VALUE_{number}": text
        for number, text in enumerate([
            f"$({act})", f"`{act}`", f"; {act};", f"&& {act}", f"| {act}", f"\n{act}\n", f"' ; {act} ; '", f'" ; {act} ; "',
            f"$${{IFS}}$({act})", f"${{PATH:-$({act})}}", f"x > {marker}", f"\\$({act})", f"{{{{ {act} }}}}", "%s%n%x",
            f"-v /:/host; {act}", f"--privileged\t{act}", "*", "~root", "é\u202e\x1b[2J", f"a\rb; {act}",
        ])
    }  # fmt: skip


def test_values_arrive_as_they_are_and_do_nothing_on_the_way(home: Home, tmp_path: Path) -> None:
    marker = tmp_path / "pwned"
    values = hostile(marker)
    evil = f'1.0"; $(touch {marker} /pwned) `touch /pwned`; #'
    env = "".join(f"{key}={dotenv.encode(value)}\n" for key, value in values.items())
    home.put("db", SLEEPER, {"scripts/hook.sh": PROVIDER_HOOK.replace("HOST", str(marker))})
    hooks = {"on_install": "scripts/hook.sh", "on_start": "scripts/hook.sh"}
    home.put(
        "web", SLEEPER + "    env_file: .env\n    labels: {evil: '${VALUE_0}'}\n", {".env": env},
        version=evil, display_name=evil, description=evil, open_url=evil, requires=[{"app": home.name("db"), **hooks}],
        settings=[{"name": "VALUE_0", "label": evil, "description": evil, "type": "text", "default": evil}],
    )  # fmt: skip
    home.start()
    home.wait("web", "Ready", timeout=60)
    wait_until(lambda: home.inside("db", "/version"), "the hook ran", 60)
    given = home.env_of("web")
    assert {key: given.get(key) for key in values} == values
    assert given["LINE"] == f"$(touch /pwned {marker})`touch /pwned`"
    assert given["MADE"] == f"$(touch /pwned {marker}) `touch /pwned` ; touch /pwned"
    assert home.inside("db", "/version") == evil
    seen = home.inside("db", "/seen")
    assert all(
        f"FURTKA_CONSUMER_ENV_{key}={value}" in seen for key, value in values.items() if "\r" not in value
    )
    # Edited by command, it is data as well.
    assert home.run("set", home.name("web"), f"VALUE_1=$(touch {marker})").returncode == 0
    wait_until(
        lambda: home.env_of("web").get("VALUE_1") == f"$(touch {marker})", "the new value is there", 30
    )
    home.wait("web", "Ready", timeout=60)
    assert not marker.exists()
    for short in ("web", "db"):
        for details in home.containers(short).values():
            assert not Path(f"/proc/{details['State']['Pid']}/root/pwned").exists()
