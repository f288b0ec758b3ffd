"""Writes a dump of a state as the Homeport of today makes it: PYTHONPATH=tests python tests/status/earlier/make.py FILE.sql"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from controller.status.store import DATABASE, SqliteStore
from fakes.world import World

SAID = {
    "root_id": "11111111-2222-3333-4444-555555555555", "left:old": '["furtka_old_data"]', "stopped:web": "1",
    "suspended:lonely": "1",
}  # fmt: skip


def main(target: Path) -> None:
    with World() as world, tempfile.TemporaryDirectory() as folder:
        world.put("db", volumes=["data"])
        world.until_quiet()
        web = world.put("web", requires=["db"])
        world.until_quiet()
        web.compose += "."
        world.resync()
        world.until_quiet()
        world.put("bad")
        world.engine.behaviour["bad", "main"] = "fail"
        for _ in range(3):
            world.rest()
            world.clock.advance(5)
            world.engine_moves()
            world.rest()
        world.put("lonely", requires=["nobody"])
        world.rest()
        world.store.put("suspended:lonely", "1")
        world.queue.add("lonely", world.clock.monotonic())
        world.rest()
        with SqliteStore(Path(folder)) as store:
            for record in world.store.records():
                store.save(record)
            for _, event in world.store.events():
                store.tell(event)
            for key, value in SAID.items():
                store.put(key, value)
        with closing(sqlite3.connect(Path(folder) / DATABASE)) as database:
            (version,) = database.execute("PRAGMA user_version").fetchone()
            lines = [f"PRAGMA user_version = {version};", *database.iterdump()]
    target.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
