"""Images that are made here, of `homeport/sample:1` and files of this machine: no registry, no network is needed.

What is in an image is the caller's; the image of the sample apps is made by deploy/sample-image.
"""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from rig.engine import SAMPLE_IMAGE, api

# `libz.so.1 => /lib/libz.so.1 (0x…)`, and the loader, which stands alone; the kernel's own has no path.
_LIBRARY = re.compile(r"^\s*(?:\S+ => )?(/\S+) \(0x", re.MULTILINE)


def build_image(host: str, name: str, files: Mapping[str, bytes]) -> str:
    """Makes the image `name`: the sample image and these files, all of them executable. Answers with its id.

    The same files give the same image again. `files`: path in the image, without its first `/`, to content.
    """
    dockerfile = f"FROM {SAMPLE_IMAGE}\nCOPY root /\n".encode()
    context = _tar({"Dockerfile": dockerfile, **{f"root/{path}": data for path, data in files.items()}})
    with api(host) as client:
        steps = list(
            client.build(
                fileobj=context, custom_context=True, tag=name, network_mode="none", rm=True, decode=True
            )
        )
        errors = [step["error"] for step in steps if "error" in step]
        assert not errors, f"the build of {name} failed: {errors[0]}"
        identity: str = client.inspect_image(name)["Id"]
    return identity


def with_libraries(programs: Iterable[Path]) -> dict[str, bytes]:
    """These programs as files of /bin, and the shared libraries that `ldd` names for them."""
    files = {}
    for program in programs:
        files[f"bin/{program.name}"] = program.read_bytes()
        said = subprocess.run(["ldd", str(program)], check=True, capture_output=True, text=True).stdout
        for library in _LIBRARY.findall(said):
            files[library.lstrip("/")] = Path(library).read_bytes()
    return files


def _tar(files: Mapping[str, bytes]) -> io.BytesIO:
    result = io.BytesIO()
    with tarfile.open(fileobj=result, mode="w") as archive:
        for path, data in files.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(data), 0o755
            archive.addfile(entry, io.BytesIO(data))
    result.seek(0)
    return result
