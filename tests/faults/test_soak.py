"""The soak of `make soak`, a minute of it: that it works, and that a minute of everything at once hurts nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from rig.engine import PrivateEngine
from rig.service import Home
from rig.soak import Soak


@pytest.mark.engine
@pytest.mark.slow
def test_a_minute_of_edits_and_faults_loses_nothing_and_leaves_nothing(
    private_engine: PrivateEngine, tmp_path: Path
) -> None:
    home = Home(tmp_path, private_engine.host, "soak-")
    soak = Soak(home, private_engine, seed=1)
    try:
        soak.run(1.0)
        print(soak.result(1.0))
        assert soak.wrong == []
        assert soak.faults
        assert soak.count("action.done") > len(soak.editor.sketches)
    finally:
        home.stop()
