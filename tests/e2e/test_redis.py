"""A real provider with real passwords: each consumer gets a user of its own, and nobody else hears of it."""

from __future__ import annotations

import pytest

from rig.redis import Redis, build_redis_image
from rig.service import Home
from rig.waiting import wait_until

pytestmark = pytest.mark.engine


@pytest.fixture
def redis(home: Home) -> Redis:
    """The provider and two consumers in the tree, the service running, all of them Ready."""
    redis = Redis(home, build_redis_image(home.engine))
    redis.put_provider()
    redis.put_consumer("one")
    redis.put_consumer("two")
    home.start()
    for short in ("redis", "one", "two"):
        home.wait(short, "Ready", timeout=40)
    return redis


def test_each_consumer_gets_a_user_of_its_own_and_reads_no_key_of_another(home: Home, redis: Redis) -> None:
    one, two = home.name("one"), home.name("two")
    assert redis.ask("one", "acl", "whoami") == one
    assert redis.ask("two", "acl", "whoami") == two
    assert redis.password_of("one") != redis.password_of("two")
    assert redis.ask("one", "set", f"{one}:note", "mine") == "OK"
    assert redis.ask("one", "get", f"{one}:note") == "mine"

    assert redis.ask("two", "get", f"{one}:note").startswith("NOPERM")
    assert redis.ask("two", "set", f"{one}:note", "spoilt").startswith("NOPERM")
    assert "WRONGPASS" in redis.ask("two", "get", f"{one}:note", user=one), (
        "its own password opens no other door"
    )
    assert redis.ask("one", "get", f"{one}:note") == "mine"


def test_both_consumers_still_log_in_when_the_providers_container_is_a_new_one(
    home: Home, redis: Redis
) -> None:
    before = home.ids("one") | home.ids("two")
    for short in ("one", "two"):
        redis.ask(short, "set", f"{home.name(short)}:note", short)
    redis.lose_provider()
    home.wait("redis", "Ready")
    for short in ("one", "two"):
        home.wait(short, "Ready")
        assert redis.ask(short, "get", f"{home.name(short)}:note") == short
    assert home.ids("one") | home.ids("two") == before, "the consumers ran on"


def test_the_hook_run_once_more_gives_the_same_user_and_the_same_password(home: Home, redis: Redis) -> None:
    env, before = home.apps / home.name("one") / ".env", home.ids()
    password = redis.password_of("one")
    env.write_text(f"REDIS_PASSWORD={password}\n")
    wait_until(lambda: "REDIS_USER" in env.read_text(), "what was lost is made again", 20)
    home.wait("one", "Ready")
    home.run("reconcile", home.name("one"))
    assert redis.password_of("one") == password
    assert redis.ask("one", "acl", "whoami") == home.name("one")
    assert home.ids() == before, "nothing is new, so nothing is started anew"


def test_a_password_that_was_lost_from_the_env_file_is_made_anew_and_works(home: Home, redis: Redis) -> None:
    before, lost = home.ids("two"), redis.password_of("one")
    (home.apps / home.name("one") / ".env").write_text("# nothing here any more\n")
    wait_until(lambda: home.env_of("one").get("REDISCLI_AUTH", lost) != lost, "it was given another one", 20)
    home.wait("one", "Ready")
    assert redis.ask("one", "acl", "whoami") == home.name("one")
    assert redis.password_of("one") == home.env_of("one")["REDISCLI_AUTH"]
    assert home.ids("two") == before


def test_a_password_is_in_the_env_file_of_its_consumer_and_nowhere_in_what_people_read(
    home: Home, redis: Redis
) -> None:
    said = home.log_file.read_text() + "".join(
        home.run(*command).stdout
        for command in (["status", "-o", "json"], ["events", "-o", "json"], ["why", home.name("one")])
    )
    assert said.count(home.name("one")) > 3, "there is something to look through"
    for short in ("one", "two"):
        file = home.apps / home.name(short) / ".env"
        assert file.stat().st_mode & 0o777 == 0o600
        password = redis.password_of(short)
        assert len(password) == 48
        assert password not in said
