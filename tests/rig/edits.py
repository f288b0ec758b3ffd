"""Somebody who edits an apps tree at random, with a model of his own of what every folder asks for.

The model never asks the product what it thinks the files mean. Who compares, and when, is the test's.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rig.service import MANIFEST, Home

APPS = 20
PROVIDERS = ("app00", "app01")
CONSUMERS = {"app02": ("app00",), "app03": ("app00", "app01"), "app04": ("app03",)}
MOUNTING = ("app01", "app04", "app05", "app06", "app07")
# The brake holds the removal of more than three apps and 30 % within five minutes; removed and missing are counted
# together. Three that come and go, two of them away at once, make five of twenty.
MOVERS = ("app17", "app18", "app19")
MOST_AWAY = 2

COMPOSE, MANIFEST_FILE, ENV, MOUNTED = "docker-compose.yaml", "manifest.json", ".env", "app.conf"
BROKEN = {
    COMPOSE: (
        "services: [",
        "services:\n  main:\n   image: x\n  bad",
        "services: {main: {imag: x}}\n",
        "",
        "a: &a [*a]",
    ),
    MANIFEST_FILE: ("{", "[]", '{"name": "another"}', "", '{"name": 1}'),
}
CRASHING = "a while"
"""No number of seconds: a `sleep` that ends with an error."""
DROPPINGS = (f".{COMPOSE}.swp", f"{COMPOSE}~", "4913", ".#manifest.json", "sedAbC123", ".goutputstream-AB12")

Wanted = dict[str, Any]


@dataclass
class Sketch:
    """What the files of one app say, or will say once they are whole again."""

    short: str
    requires: tuple[str, ...]
    mounted: str | None
    services: dict[str, dict[str, str]] = field(default_factory=dict)
    """Name to image, the seconds that it sleeps, and a value of its own."""
    word: str | None = None
    """What `.env` says; None: there is no such file."""
    version: int = 1
    broken: set[str] = field(default_factory=set)
    away: bool = False

    def compose(self) -> str:
        lines = ["services:"]
        for name, service in self.services.items():
            lines += [
                f"  {name}:",
                f"    image: {service['image']}",
                f'    command: ["sleep", "{service["seconds"]}"]',
                "    init: true",
                "    network_mode: none",
                "    stop_grace_period: 0s",
                f'    environment: {{WORD: "${{WORD:-none}}", VALUE: "{service["value"]}"}}',
            ]
            if name == "main" and self.mounted is not None:
                lines.append(f'    volumes: ["./{MOUNTED}:/{MOUNTED}:ro"]')
        return "\n".join(lines) + "\n"

    def manifest(self, home: Home) -> dict[str, Any]:
        requires = [{"app": home.name(provider)} for provider in self.requires]
        name = {"name": home.name(self.short), "display_name": self.short}
        return MANIFEST | name | {"version": f"1.0.{self.version}", "requires": requires}

    def wanted(self, home: Home) -> Wanted:
        """Container to what it has to be, by these files alone."""
        return {
            f"{home.name(self.short)}-{name}-1": {
                "service": name,
                "image": service["image"],
                "command": ["sleep", service["seconds"]],
                "word": self.word or "none",
                "value": service["value"],
                "mounted": self.mounted if name == "main" else None,
                "running": True,
            }
            for name, service in self.services.items()
        }


class Editor:
    """Somebody with a script and no patience."""

    def __init__(self, home: Home, chance: random.Random, images: tuple[str, str]) -> None:
        self.home, self.chance, self.images = home, chance, images
        self.aside = home.apps.parent / "aside"
        self.aside.mkdir()
        self.sketches = [self._sketch(f"app{number:02}") for number in range(APPS)]
        self.story: list[tuple[str, str]] = []
        self.kinds: list[tuple[Callable[[Sketch], str], int]] = [
            (self.change_service, 6), (self.add_service, 2), (self.remove_service, 2), (self.change_env, 4),
            (self.change_mounted, 4), (self.change_manifest, 2), (self.spoil, 3), (self.mend, 2), (self.touch, 1),
            (self.leave_droppings, 1), (self.move, 8),
        ]  # fmt: skip

    def _sketch(self, short: str) -> Sketch:
        sketch = Sketch(short, CONSUMERS.get(short, ()), self._any() if short in MOUNTING else None)
        sketch.services["main"] = self._service()
        return sketch

    def _service(self) -> dict[str, str]:
        seconds = str(self.chance.randint(100000, 999999))
        return {"image": self.chance.choice(self.images), "seconds": seconds, "value": self._any()}

    def _any(self) -> str:
        return f"v{self.chance.randrange(10**6)}"

    # -- the tree -------------------------------------------------------------------------------------

    def make_all(self) -> None:
        """All folders, before the first edit."""
        for sketch in self.sketches:
            files = {MOUNTED: sketch.mounted} if sketch.mounted is not None else {}
            self.home.put(sketch.short, sketch.compose(), files, **sketch.manifest(self.home))

    def edit(self) -> None:
        """One edit of one app."""
        kinds, weights = zip(*self.kinds, strict=True)
        sketch, kind = self.chance.choice(self.sketches), self.chance.choices(kinds, weights)[0]
        self.story.append((sketch.short, kind(sketch)))

    def finish(self) -> None:
        """What is broken is made whole; mounted files change once more, and nothing after them hides it."""
        for sketch in self.sketches:
            if any(service["seconds"] == CRASHING for service in sketch.services.values()):
                sketch.services["main"] = self._service()
                self.story.append((sketch.short, f"mended: {self.save_compose(sketch)}"))
            while sketch.broken:
                self.story.append((sketch.short, self.mend(sketch)))
            if sketch.mounted is not None:
                self.story.append((sketch.short, self.change_mounted(sketch)))

    def folder(self, sketch: Sketch) -> Path:
        return (self.aside if sketch.away else self.home.apps) / self.home.name(sketch.short)

    def save(self, sketch: Sketch, file: str, text: str) -> str:
        """Written in place, or beside and renamed over."""
        path = self.folder(sketch) / file
        if self.chance.random() < 0.5:
            path.write_text(text)
            return f"{file} written"
        new = path.with_name(f".goutputstream-{file}")
        new.write_text(text)
        new.replace(path)
        return f"{file} renamed over"

    def save_compose(self, sketch: Sketch) -> str:
        sketch.broken.discard(COMPOSE)
        return self.save(sketch, COMPOSE, sketch.compose())

    # -- the edits: each answers with what was done ---------------------------------------------------

    def change_service(self, sketch: Sketch) -> str:
        name = self.chance.choice(list(sketch.services))
        sketch.services[name] = self._service()
        return f"service {name} changed: {self.save_compose(sketch)}"

    def add_service(self, sketch: Sketch) -> str:
        name = self.chance.choice(("side", "rear"))
        sketch.services[name] = self._service()
        return f"service {name} added or changed: {self.save_compose(sketch)}"

    def remove_service(self, sketch: Sketch) -> str:
        name = self.chance.choice(("side", "rear"))
        sketch.services.pop(name, None)
        return f"no service {name}: {self.save_compose(sketch)}"

    def change_env(self, sketch: Sketch) -> str:
        if sketch.word is not None and self.chance.random() < 0.2:
            sketch.word = None
            (self.folder(sketch) / ENV).unlink()
            return ".env removed"
        sketch.word = self._any()
        return self.save(sketch, ENV, f"# {sketch.version}\nWORD={sketch.word}\n")

    def change_mounted(self, sketch: Sketch) -> str:
        if sketch.mounted is None:
            return self.change_service(sketch)
        sketch.mounted = self._any()
        return self.save(sketch, MOUNTED, sketch.mounted)

    def change_manifest(self, sketch: Sketch) -> str:
        sketch.version += 1
        sketch.broken.discard(MANIFEST_FILE)
        return self.save(sketch, MANIFEST_FILE, json.dumps(sketch.manifest(self.home)))

    def spoil(self, sketch: Sketch) -> str:
        file = self.chance.choice(list(BROKEN))
        sketch.broken.add(file)
        return f"broken: {self.save(sketch, file, self.chance.choice(BROKEN[file]))}"

    def crash(self, sketch: Sketch) -> str:
        """A service that ends at once, which no look at the files can tell."""
        sketch.services["main"] = {**self._service(), "seconds": CRASHING}
        return f"service main crashes: {self.save_compose(sketch)}"

    def mend(self, sketch: Sketch) -> str:
        if COMPOSE in sketch.broken:
            return self.save_compose(sketch)
        return self.change_manifest(sketch)

    def touch(self, sketch: Sketch) -> str:
        file = self.chance.choice((COMPOSE, MANIFEST_FILE))
        os.utime(self.folder(sketch) / file)
        return f"{file} touched"

    def leave_droppings(self, sketch: Sketch) -> str:
        dropping = self.folder(sketch) / self.chance.choice(DROPPINGS)
        dropping.write_text("dropping")
        if self.chance.random() < 0.5:
            dropping.unlink()
        return f"dropping {dropping.name}"

    def move(self, sketch: Sketch) -> str:
        """Out of the tree or back in: only those that may, and not too many at once."""
        away = sum(other.away for other in self.sketches)
        if sketch.short not in MOVERS or (not sketch.away and away >= MOST_AWAY):
            return self.touch(sketch)
        old = self.folder(sketch)
        sketch.away = not sketch.away
        old.rename(self.folder(sketch))
        return "moved out" if sketch.away else "moved back in"


def observed(home: Home) -> Wanted:
    """What runs, in the words of `Sketch.wanted`."""
    found = {}
    for name, details in home.containers().items():
        environment = dict(pair.split("=", 1) for pair in details["Config"]["Env"])
        found[name] = {
            "service": details["Config"]["Labels"]["com.docker.compose.service"],
            "image": details["Config"]["Image"],
            "command": details["Config"]["Cmd"],
            "word": environment.get("WORD"),
            "value": environment.get("VALUE"),
            "mounted": seen_inside(details["State"]["Pid"]) if details["Mounts"] else None,
            "running": details["State"]["Running"],
        }
    return found


def seen_inside(pid: int) -> str:
    """The mounted file as the container has it, which may be an older one than the one on disk.

    Read through the host's /proc: an exec that meets a restart can leave a container in which this engine's
    runc starts no other ("fork/exec /proc/self/exe: no such file or directory").
    """
    try:
        return Path(f"/proc/{pid}/root/{MOUNTED}").read_text()
    except OSError as error:  # gone or stopped since it was listed
        return str(error)


def differing(wanted: Wanted, found: Wanted) -> dict[str, tuple[Any, Any]]:
    names = sorted(wanted.keys() | found.keys())
    return {n: (wanted.get(n), found.get(n)) for n in names if wanted.get(n) != found.get(n)}


def unsettled(home: Home, sketches: list[Sketch]) -> dict[str, Any]:
    """Apps that are not Ready at the newest generation, which is that of the version on disk."""
    found = {}
    for sketch in sketches:
        status = home.status(sketch.short) or {}
        seen = [status.get(key) for key in ("summary", "version", "generation", "observedGeneration")]
        if seen != ["Ready", f"1.0.{sketch.version}", *[status.get("generation")] * 2]:
            found[sketch.short] = seen
    return found


def explain(home: Home, editor: Editor, wanted: Wanted) -> str:
    """For the person who looks into it: seed, differences, and all that happened to those apps."""
    differences = differing(wanted, observed(home))
    waiting = unsettled(home, [sketch for sketch in editor.sketches if not sketch.away])
    lines = [f"{name}\n  wanted {want}\n  found  {found}" for name, (want, found) in differences.items()]
    lines += [f"{short}: {seen}" for short, seen in waiting.items()]
    for sketch in editor.sketches:
        name = home.name(sketch.short)
        if sketch.short in waiting or any(container.startswith(f"{name}-") for container in differences):
            lines.append(f"-- {name}: its edits, and what the service said last")
            lines += [
                f"  {n}: {what}" for n, (short, what) in enumerate(editor.story) if short == sketch.short
            ][-12:]
            lines += [f"  {json.dumps(line)}" for line in home.log(short=sketch.short)[-12:]]
    return "\n".join(lines)
