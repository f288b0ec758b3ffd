"""deploy/logrotate.conf, by logrotate itself: no line is lost, and the service needs no signal."""

from __future__ import annotations

import subprocess
from pathlib import Path

import structlog

from controller.telemetry.logging import logging_to
from rig.programs import find_program

CONFIG = Path(__file__).parents[2] / "deploy" / "logrotate.conf"


def test_a_log_that_is_rotated_goes_on_in_a_new_file_and_loses_no_line(tmp_path: Path) -> None:
    program = find_program("logrotate", "logrotate")
    folder = tmp_path / "homeport"
    folder.mkdir(mode=0o750)
    log = folder / "homeport.log"
    config = tmp_path / "logrotate.conf"
    config.write_text(CONFIG.read_text().replace("/var/log/homeport/", f"{folder}/"))
    config.chmod(0o644)

    def rotate() -> None:
        done = subprocess.run(
            [program, "--force", "--state", str(tmp_path / "state"), str(config)],
            capture_output=True, text=True, check=False, timeout=30,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")

    with logging_to("json", log_file=log):
        say = structlog.get_logger("homeport").info
        for number in range(3):
            say("line", number=number)
            rotate()
            assert not log.exists(), "nothing is said, so there is no new file"
        say("line", number=3)
    assert '"number": 3' in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o640
    assert '"number": 2' in (folder / "homeport.log.1").read_text()
    assert {path.name for path in folder.iterdir()} == {
        "homeport.log", "homeport.log.1", "homeport.log.2.gz", "homeport.log.3.gz"
    }  # fmt: skip
