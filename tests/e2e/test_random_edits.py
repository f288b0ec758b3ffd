"""A thousand edits at random, as fast as a script makes them: in the end runs what the last files alone ask for.

`HOMEPORT_TEST_SEED` chooses another history; when a run fails the seed and the edits of the apps in question are said.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator

import pytest

from rig.cleanup import EngineCleanup
from rig.edits import APPS, Editor, differing, explain, observed, unsettled
from rig.engine import SAMPLE_IMAGE, api
from rig.service import Home
from rig.waiting import wait_until

pytestmark = pytest.mark.engine

SEED = int(os.environ.get("HOMEPORT_TEST_SEED", "20"))
EDITS = 1000
PAUSE = 0.02  # seconds between two edits, on average: some come in one burst, some are acted upon in between


@pytest.fixture
def images(engine_host: str, app_prefix: str) -> Iterator[tuple[str, str]]:
    """Two names of images that are there."""
    other = f"homeport/{app_prefix}other"
    with api(engine_host) as client:
        client.tag(SAMPLE_IMAGE, other, "1")
    yield SAMPLE_IMAGE, f"{other}:1"
    with api(engine_host) as client:
        client.remove_image(f"{other}:1", force=True)


def test_after_a_thousand_random_edits_runs_exactly_what_the_final_tree_asks_for(
    images: tuple[str, str], home: Home, engine_cleanup: EngineCleanup
) -> None:
    print(f"HOMEPORT_TEST_SEED={SEED}")  # shown when the test fails, wherever it does
    chance = random.Random(SEED)
    editor = Editor(home, chance, images)
    editor.make_all()
    home.start()
    for _ in range(EDITS):
        editor.edit()
        time.sleep(chance.expovariate(1 / PAUSE))
    editor.finish()

    there = [sketch for sketch in editor.sketches if not sketch.away]
    wanted = {name: one for sketch in there for name, one in sketch.wanted(home).items()}
    try:
        wait_until(
            lambda: not differing(wanted, observed(home)), "what runs is what is wanted", 90, interval=0.5
        )
        wait_until(
            lambda: not unsettled(home, there), "all are Ready at their newest generation", 20, interval=0.2
        )
    except AssertionError as error:
        pytest.fail(f"{error}\n{explain(home, editor, wanted)}", pytrace=False)
    assert acted_in_between(home), "the service worked while the edits were made"

    before = home.ids()
    assert home.run("reconcile").returncode == 0
    assert home.ids() == before, "there was nothing left to do"
    assert not home.log("reconcile.crashed")
    assert sorted(engine_cleanup.left()) == sorted(f"container {name}" for name in wanted)


def acted_in_between(home: Home) -> bool:
    return len([line for line in home.log("action.done") if line["kind"] == "compose_up"]) > 2 * APPS
