"""The sample apps that `make run` starts, on an engine of their own because their names are fixed."""

from __future__ import annotations

import json
import shutil
import urllib.request
from pathlib import Path

import pytest

from rig.engine import PrivateEngine
from rig.service import Home, free_port
from rig.waiting import wait_until

pytestmark = pytest.mark.engine

SAMPLES = Path(__file__).parents[2] / "manifests"


def test_the_samples_do_what_their_pages_say(private_engine: PrivateEngine, tmp_path: Path) -> None:
    home = Home(tmp_path, private_engine.host, "")
    ports = {}
    for sample in sorted(path for path in SAMPLES.iterdir() if path.is_dir()):
        shutil.copytree(sample, home.apps / sample.name)
        settings = json.loads((sample / "manifest.json").read_text()).get("settings", [])
        if any(setting["name"] == "PORT" for setting in settings):
            ports[sample.name] = free_port()
            (home.apps / sample.name / ".env").write_text(f"PORT={ports[sample.name]}\n")
    home.start()
    try:
        home.wait("hello", "Ready")
        with urllib.request.urlopen(f"http://127.0.0.1:{ports['hello']}/", timeout=5) as page:
            assert page.status == 200
        home.wait("keybox", "Ready")
        home.wait("notebook", "Ready")  # its health check logs in to keybox with what the hook gave it
        assert "KEYBOX_PASSWORD=" in (home.apps / "notebook" / ".env").read_text()
        home.wait("guestbook", "NeedsConfiguration")
        env = home.apps / "guestbook" / ".env"
        env.write_text(f"GUESTBOOK_OWNER=me\nPORT={ports['guestbook']}\n")
        home.wait("guestbook", "Ready")
        assert home.run("reconcile").stdout == ""
        for name in ("notebook", "keybox"):
            shutil.rmtree(home.apps / name)
            wait_until(lambda app=name: not home.containers(app), f"{name} is gone", 30)
    finally:
        home.stop()
