"""How far a pull has come, from what Compose says of it; the lines are those of Compose 5.6.1."""

from __future__ import annotations

import json

import pytest

from controller.engine.failures import compose_failure
from controller.engine.layers import Layers

IMAGE = "Image registry.example.org/big:1"


def line(name: str, text: str, **more: object) -> bytes:
    return json.dumps({"id": name, "parent_id": IMAGE, "status": "Working", "text": text, **more}).encode()


def test_a_pull_tells_its_layers_and_bytes_as_they_come() -> None:
    told: list[str] = []
    layers = Layers(told.append)
    for said in (
        line("a", "Already exists", details="0B"),
        line("b", "Pulling fs layer", details="0B"),
        line("b", "Downloading", current=500_000, total=2_000_000),
        line("b", "Downloading", current=500_000, total=2_000_000),
        line("b", "Download complete"),
        line("b", "Extracting", current=10, total=2_000_000),
        line("b", "Pull complete"),
    ):
        assert layers.hear(said) == b""
    assert told == [
        "1 of 1 layers",
        "1 of 2 layers",
        "1 of 2 layers, 0.5 of 2.0 MB",
        "2 of 2 layers, 2.0 of 2.0 MB",
    ]


def test_a_failed_pull_is_judged_as_one_that_says_nothing_of_its_layers() -> None:
    why = 'Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused'
    layers = Layers(lambda _: None)
    kept = b"".join(
        layers.hear(said)
        for said in (
            json.dumps({"id": IMAGE, "status": "Working", "text": "Pulling"}).encode(),
            line("b", "Downloading", current=1, total=2),
            json.dumps({"id": IMAGE, "status": "Error", "text": "Error", "details": why}).encode(),
            json.dumps({"error": True, "message": f"Error response from daemon: {why}"}).encode(),
        )
    )
    plain = f" {IMAGE} Pulling\n {IMAGE} Error {why}\nError response from daemon: {why}\n".encode()
    assert kept == plain
    error = compose_failure(
        "compose pull web", "PullFailed", kept, (), {"registry.example.org/big:1": ("web",)}
    )
    assert "registry.example.org/big:1" in str(error)
    assert "connection refused" in str(error)


@pytest.mark.parametrize("said", [b"no JSON", b"[1]", b'"text"', b"\xff\xfe"])
def test_what_is_no_progress_is_kept_as_it_is(said: bytes) -> None:
    assert Layers(lambda _: None).hear(said) == said + b"\n"
