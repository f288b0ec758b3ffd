"""Somebody who writes all the time: `python -m bench.load DATA RATE FOLDER…`, until it is ended.

Each folder's compose file is rewritten ten times a second, with another comment at its end: never at rest, never
another model. RATE times a second something is written to DATA. At SIGTERM it says how much it did.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

BEAT = 0.01  # seconds; a tenth of the folders each


def main() -> None:
    data, rate, folders = sys.argv[1], int(sys.argv[2]), [Path(folder) for folder in sys.argv[3:]]
    over = False

    def end(_number: int, _frame: FrameType | None) -> None:
        nonlocal over
        over = True

    signal.signal(signal.SIGTERM, end)
    files = [folder / "docker-compose.yaml" for folder in folders]
    texts = [file.read_text().partition("# ")[0] for file in files]
    handle = os.open(data, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    began = time.monotonic()
    beats = rewritten = written = 0
    while not over:
        for index in range(beats % 10, len(files), 10):
            files[index].write_text(f"{texts[index]}# {beats}\n")
            rewritten += 1
        for _ in range(int(rate * BEAT)):
            os.pwrite(handle, b"x", 0)
            written += 1
        beats += 1
        time.sleep(max(0.0, began + beats * BEAT - time.monotonic()))
    seconds = time.monotonic() - began
    print(f"{rewritten / seconds:.0f} {written / seconds:.0f}")


if __name__ == "__main__":
    main()
