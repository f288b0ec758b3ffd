"""What a build's output tells: which step failed, what it printed, and which containers were left."""

from __future__ import annotations

import pytest

from controller.engine.builds import Steps, said
from controller.engine.failures import compose_failure
from controller.model.errors import AppError

# Engine 20.10 and Compose 5.6.1, as they printed it.
CLASSIC = """\
Sending build context to Docker daemon     312B\r\r
Step 1/4 : FROM homeport/sample:1
 ---> 7b9267b17e93
Step 2/4 : ENV A=1
 ---> Running in 386271748dd1
Removing intermediate container 386271748dd1
 ---> e16caf9cf89d
Step 3/4 : RUN sh /setup.sh
 ---> Running in 11df55742804
begin
\x1b[91mcat: can't open '/nonexistent/dir': No such file or directory
\x1b[0m"""
CLASSIC_FAILED = (
    " Image built-web Building \nThe command '/bin/sh -c sh /setup.sh' returned a non-zero code: 3\n"
)
# As BuildKit's plain progress prints it; old ones put the step before the seconds.
BUILDKIT = """\
#6 [web 3/3] RUN sh /setup.sh
#6 0.234 begin
#6 0.235 cat: can't open '/nonexistent/dir': No such file or directory
#6 ERROR: process "/bin/sh -c sh /setup.sh" did not complete successfully: exit code: 3
------
 > [web 3/3] RUN sh /setup.sh:
0.234 begin
#6 0.235 cat: can't open '/nonexistent/dir': No such file or directory
------
"""
BUILDKIT_FAILED = 'target web: failed to solve: process "/bin/sh -c sh /setup.sh" did not complete successfully: exit code: 3\n'


@pytest.mark.parametrize(
    ("printed", "failed"),
    [(CLASSIC, CLASSIC_FAILED), (BUILDKIT, BUILDKIT_FAILED)],
    ids=["classic", "buildkit"],
)
def test_a_failed_build_is_told_with_what_its_step_printed_last(printed: str, failed: str) -> None:
    failure = compose_failure("compose up built", "ApplyFailed", failed.encode(), stdout=printed.encode())
    assert isinstance(failure, AppError)
    assert failure.reason == "BuildFailed"
    cause = failed.splitlines()[-1]
    said_last = "the build said last: begin | cat: can't open '/nonexistent/dir': No such file or directory"
    assert str(failure) == f"compose up built: {cause}; {said_last}"


def test_what_a_failed_step_printed_holds_no_secret_and_no_end_of_lines() -> None:
    printed = f"{CLASSIC}token hunter2-and-more\n{'x' * 5000}\n"
    failure = compose_failure(
        "compose up built",
        "ApplyFailed",
        CLASSIC_FAILED.encode(),
        ("hunter2-and-more",),
        stdout=printed.encode(),
    )
    assert "token ***" in str(failure)
    assert len(str(failure)) < 700


@pytest.mark.parametrize(
    "printed",
    [
        "",
        "Step 1/2 : FROM nope:1\n",
        "Step 3/4 : RUN exit 3\n ---> Running in 11df55742804\n",
        f"{CLASSIC}\nRemoving intermediate container 11df55742804\n ---> 65625ed5fd12\nSuccessfully built 65625ed5fd12\n",
        f"{CLASSIC}\n ---> Removed intermediate container 11df55742804\n ---> 65625ed5fd12\n",  # newer engines
        f"{CLASSIC}\nStep 4/4 : COPY no-such-file /\n",
    ],
)
def test_a_build_whose_steps_said_nothing_or_were_done_adds_nothing(printed: str) -> None:
    assert said(printed) == ""


def test_a_base_image_that_cannot_be_had_is_no_matter_of_the_dockerfile() -> None:
    failure = compose_failure("compose up a", "ApplyFailed", b"failed to solve: nope:1: pull access denied\n")
    assert isinstance(failure, AppError)
    assert failure.reason == "PullFailed"


def test_the_container_of_a_step_that_failed_is_known_and_no_other() -> None:
    steps = Steps()
    for line in CLASSIC.encode().split(b"\n"):
        assert steps.hear(line) == line + b"\n"
    assert steps.left == ("11df55742804",)


def test_a_step_cannot_fill_our_memory_with_names_of_containers() -> None:
    steps = Steps()
    for number in range(1000):
        steps.hear(b" ---> Running in %012x" % number)
    assert len(steps.left) == 100
    assert f"{999:012x}" in steps.left
