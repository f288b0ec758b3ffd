"""What happens in one life: a tuple of values, made from a seed. Nothing here acts.

Each step carries a seed of its own, so that leaving one out changes nothing of the others: that is what makes a
failing history small.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

APPS = ("hub", "api", "web", "job", "solo", "spare", "extra")
"""The first five are there from the start."""
REQUIRES = {"api": ("hub",), "job": ("hub",), "web": ("api",)}
PROVIDERS = ("hub", "api")

_WEIGHTS = {
    # people and their files
    "edit": 5, "spoil": 4, "revert": 2, "touch_manifest": 2, "break_files": 2, "half_copy": 2, "grow": 2, "shrink": 2,
    "mount": 2, "set_env": 2, "blank": 1, "drop_in": 4, "take_out": 3, "put_back": 3, "rename": 1, "take_many": 1,
    "require": 1,
    # wishes
    "suspend": 2, "stop": 2, "unwish": 3, "restart": 2, "update": 2, "rollback": 2, "remove": 2, "approve": 1,
    # containers
    "kill": 3, "crash_container": 2, "take_container": 1, "sicken": 1, "leave_wreckage": 1, "scale_by_hand": 1,
    # the engine and its lies
    "engine_down": 1, "engine_up": 4, "lose_disk": 1, "find_disk": 4, "new_engine": 1,
    "engine_error": 3, "hang": 2, "stale_list": 2, "lost_events": 1, "doubled_events": 1,
    "no_image": 1, "move_tag": 1, "take_port": 1, "bad_hook": 2, "foreign": 1,
    # the tree and the state
    "lose_tree": 1, "find_tree": 4, "lock_folder": 1, "store_error": 1, "set_clock": 1,
    # the process
    "crash": 3, "crash_in_call": 3, "wait": 14,
}  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One thing that happens to one app; `seed` decides all that is open in it."""

    kind: str
    app: str
    seed: int

    def __str__(self) -> str:
        return f"{self.kind:<15} {self.app:<6} {self.seed}"


def generate(seed: int, longest: int = 50) -> tuple[Step, ...]:
    """The history of this seed: 5 to `longest` steps."""
    chance = Random(seed)
    kinds, weights = list(_WEIGHTS), list(_WEIGHTS.values())
    return tuple(
        Step(chance.choices(kinds, weights)[0], chance.choice(APPS), chance.getrandbits(32))
        for _ in range(chance.randrange(5, longest))
    )
