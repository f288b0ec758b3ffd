"""The rules of the back-off: one key's failures, doubled, capped, and no other key's business."""

from __future__ import annotations

import random

import pytest

from controller.workqueue import ExponentialBackoff


@pytest.fixture
def limiter() -> ExponentialBackoff[str]:
    return ExponentialBackoff(base_seconds=1, max_seconds=60)


def test_q8_the_delay_doubles_with_each_failure_up_to_the_maximum(limiter: ExponentialBackoff[str]) -> None:
    assert [limiter.when("web") for _ in range(9)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_q8_other_keys_are_not_affected(limiter: ExponentialBackoff[str]) -> None:
    for _ in range(5):
        limiter.when("web")
    assert limiter.when("db") == 1
    assert limiter.when("web") == 32


def test_q8_thousands_of_failures_do_not_overflow() -> None:
    limiter: ExponentialBackoff[str] = ExponentialBackoff(0.005, 1000)
    delays = [limiter.when("web") for _ in range(5000)]
    assert delays == sorted(delays)
    assert delays[-1] == 1000
    assert limiter.ceiling(10**9) == 1000


def test_q8_full_jitter_draws_between_zero_and_the_capped_delay() -> None:
    plain: ExponentialBackoff[str] = ExponentialBackoff(1, 60)
    jittered: ExponentialBackoff[str] = ExponentialBackoff(1, 60, random.Random(7))
    pairs = [(jittered.when("web"), plain.when("web")) for _ in range(3000)]
    assert all(0 <= drawn <= ceiling for drawn, ceiling in pairs)
    capped = [drawn for drawn, ceiling in pairs if ceiling == 60]
    assert 28 < sum(capped) / len(capped) < 32, "evenly, so half the ceiling on average"


def test_q8_full_jitter_repeats_with_its_seed() -> None:
    def delays(seed: int) -> list[float]:
        limiter: ExponentialBackoff[str] = ExponentialBackoff(1, 60, random.Random(seed))
        return [limiter.when("web") for _ in range(20)]

    assert delays(1) == delays(1)
    assert delays(1) != delays(2)


def test_q9_num_requeues_counts_the_failures_since_the_last_forget(limiter: ExponentialBackoff[str]) -> None:
    assert limiter.num_requeues("web") == 0
    limiter.when("web")
    limiter.when("web")
    limiter.when("db")
    assert limiter.num_requeues("web") == 2
    limiter.forget("web")
    assert (limiter.num_requeues("web"), limiter.num_requeues("db")) == (0, 1)
    assert limiter.when("web") == 1, "starts afresh"


def test_q9_asking_for_the_count_or_the_ceiling_records_nothing(limiter: ExponentialBackoff[str]) -> None:
    limiter.num_requeues("web")
    limiter.ceiling(4)
    assert limiter.num_requeues("web") == 0


def test_q9_forget_of_an_unknown_key_is_nothing(limiter: ExponentialBackoff[str]) -> None:
    limiter.forget("never failed")
    assert limiter.num_requeues("never failed") == 0


def test_q10_base_and_maximum_are_parameters_such_as_those_of_flux() -> None:
    limiter: ExponentialBackoff[str] = ExponentialBackoff(0.75, 15 * 60)
    assert [limiter.when("web") for _ in range(3)] == [0.75, 1.5, 3.0]
    assert limiter.ceiling(100) == 900


def test_q10_base_may_equal_the_maximum() -> None:
    limiter: ExponentialBackoff[str] = ExponentialBackoff(3, 3)
    assert [limiter.when("web") for _ in range(3)] == [3, 3, 3]


@pytest.mark.parametrize(
    ("base", "maximum"), [(0, 1), (-1, 1), (2, 1), (1, float("inf")), (1, float("nan")), (float("nan"), 1)]
)
def test_q10_a_base_and_maximum_that_make_no_sense_are_refused(base: float, maximum: float) -> None:
    with pytest.raises(ValueError, match="0 < base <= max"):
        ExponentialBackoff(base, maximum)
