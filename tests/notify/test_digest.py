"""What a person is told: printed, as it is sent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

from controller.model.effects import Moment
from controller.model.record import Event
from controller.notify.digest import BLOCKS, FLAPS, GAP, HEARD, LENGTH, QUIET, STEADY, Digest
from controller.notify.sight import Sight

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
READY = Sight("Ready")


class Story:
    """Time passes; events are heard; what is told is kept as `[kind] title` and the body below."""

    def __init__(self, memory: str | None = None) -> None:
        self.digest = Digest.recall(memory)
        self.apps: dict[str, Sight] = {}
        self.wrong: dict[str, str] = {}
        self.at = 0.0
        self.told: list[str] = []
        self.times: list[float] = []

    def hear(self, name: str, app: str = "", message: str = "") -> None:
        assert name in HEARD
        self.digest.hear(Event(NOON, app, name, "info", message), self.at)

    def becomes(
        self, app: str, word: str, message: str = "", *, reason: str = "", needs: str = "", root: str = ""
    ) -> None:
        """An app's word, and the event that says so."""
        trouble = word in ("Failed", "Degraded", "RolledBack", "Held")
        requires = (needs,) if needs else ()
        root_word = self.apps[root].word if root in self.apps else "Missing" if root else ""
        self.apps[app] = Sight(word, reason, message, trouble, root, root_word, requires)
        event = {"Failed": "app.failed", "Degraded": "app.degraded", "Ready": "app.ready", "RolledBack": "app.rolled_back",
                 "Held": "removal.held", "Stopped": "app.stopped"}.get(word)  # fmt: skip
        if event:
            self.hear(event, app, message)

    def wait(self, seconds: float) -> None:
        """Let time pass, and take each message when it is due, as the sender does."""
        end = self.at + seconds
        while (due := self.digest.due()) is not None and due <= end:
            self.at = max(self.at, due)
            message = self.digest.take(
                self.apps, self.wrong, Moment(self.at, NOON + timedelta(seconds=self.at))
            )
            if message is not None:
                self.told.append(f"[{message.kind}] {message.title}\n{message.body}")
                self.times.append(self.at)
        self.at = end

    def said(self) -> str:
        told, self.told = self.told, []
        return "\n".join(told)


def test_trouble_is_told_after_a_quiet_time_and_its_end_as_well() -> None:
    story = Story()
    story.becomes("db", "Failed", "pulling the images of db: manifest for db:2 not found")
    story.wait(QUIET - 1)
    assert story.said() == ""
    story.wait(2)
    assert story.said() == (
        "[failure] db is Failed\ndb is Failed: pulling the images of db: manifest for db:2 not found"
    )
    story.wait(300)
    story.becomes("db", "Ready")
    story.wait(QUIET)
    assert story.said() == "[success] db is Ready again, after 5 min\ndb is Ready again, after 5 min"
    assert story.digest.due() is None, "there is nothing to wake up for"


def test_what_mends_itself_in_the_quiet_time_is_not_told_and_neither_is_its_end() -> None:
    story = Story()
    story.becomes("db", "Failed", "crash")
    story.wait(5)
    story.becomes("db", "Ready")
    story.wait(3600)
    assert story.said() == ""


def test_one_that_is_tried_again_and_again_is_told_after_the_same_quiet_time() -> None:
    story = Story()
    for number in range(20):
        story.becomes("web", "Failed", f"try {number}")
        story.wait(QUIET / 10)
    assert story.times == [QUIET]


def test_a_provider_and_ten_consumers_are_one_message() -> None:
    story = Story()
    story.becomes("db", "Failed", "no such image")
    for number in range(10):
        story.becomes(f"web{number}", "Waiting", needs="db", root="db")
    story.wait(QUIET)
    assert story.said() == (
        "[failure] db is Failed\n"
        "db is Failed: no such image\n"
        "  because of it are Waiting: web0, web1, web2, web3, web4, web5, web6, web7 and 2 more"
    )
    # One more of them is no news; that it is over is told once, with them.
    story.wait(GAP)
    story.becomes("shop", "Degraded", needs="db", root="db")
    story.wait(GAP)
    assert story.said() == ""
    for app in list(story.apps):
        story.becomes(app, "Ready")
    story.wait(GAP)
    assert story.said() == (
        "[success] db is Ready again, after 2 min\n"
        "db is Ready again, after 2 min\n"
        "  and with it: shop, web0, web1, web2, web3, web4, web5, web6 and 3 more"
    )


def test_consumers_in_different_words_are_told_with_them() -> None:
    story = Story()
    story.becomes("db", "Degraded", "the health check fails")
    story.becomes("shop", "Degraded", needs="db", root="db")
    story.becomes("web", "Waiting", needs="db", root="db")
    story.wait(QUIET)
    assert story.said().split("\n")[1:] == [
        "db is Degraded: the health check fails",
        "  because of it not Ready: shop (Degraded), web (Waiting)",
    ]


def test_a_consumer_that_is_in_trouble_of_its_own_when_its_provider_is_back_is_told() -> None:
    story = Story()
    story.becomes("db", "Failed", "crash")
    story.becomes("web", "Degraded", needs="db", root="db")
    story.wait(QUIET)
    story.said()
    story.becomes("db", "Ready")
    story.becomes("web", "Degraded", "no space left", needs="db")
    story.wait(GAP)
    assert story.said() == (
        "[failure] web is Degraded, and 1 more\n"
        "web is Degraded: no space left\n"
        "db is Ready again, after 1 min"
    )


def test_who_suffers_from_a_provider_that_is_stopped_or_not_there_is_told_with_it() -> None:
    story = Story()
    story.becomes("db", "Stopped")
    story.becomes("web", "Degraded", needs="db", root="db")
    story.becomes("shop", "Degraded", needs="cache", root="cache")
    story.wait(QUIET)
    assert story.said().split("\n")[1:] == [
        "cache is Missing",
        "  because of it is Degraded: shop",
        "db is Stopped",
        "  because of it is Degraded: web",
    ]


def test_many_in_the_same_trouble_are_one_block() -> None:
    story = Story()
    for number in range(12):
        story.becomes(f"n{number:02}", "Held", "12 of 14 apps went within a minute", reason="RemovalHeld")
    story.wait(QUIET)
    assert story.said() == (
        "[failure] 12 apps are Held (RemovalHeld)\n"
        "12 apps are Held (RemovalHeld): n00, n01, n02, n03, n04, n05, n06, n07 and 4 more\n"
        "  n00: 12 of 14 apps went within a minute"
    )
    for app in list(story.apps):
        story.becomes(app, "Ready")
    story.wait(GAP)
    assert "12 apps are Ready again: n00" in story.said()


def test_another_word_is_news_and_another_message_is_not() -> None:
    story = Story()
    story.becomes("web", "Failed", "try 1")
    story.wait(QUIET)
    story.becomes("web", "Failed", "try 2")
    story.wait(GAP)
    assert story.said().count("web is") == 2, "in the title and in the text, once"
    story.becomes("web", "RolledBack", "generation 3 failed")
    story.wait(GAP)
    assert "web is RolledBack: generation 3 failed" in story.said()


def test_a_crash_loop_is_one_trouble_whether_it_runs_at_the_moment_or_waits_for_its_next_start() -> None:
    story = Story()
    story.becomes("web", "Failed", "container exited (3)", reason="ContainerExited")
    story.becomes("web", "Degraded", "restarts again and again", reason="CrashLooping")
    story.wait(GAP * 2)
    assert story.said() == "[failure] web is Degraded\nweb is Degraded: restarts again and again"
    for word in ("Failed", "Degraded") * 5:
        story.becomes("web", word, "container exited (3)", reason="CrashLooping")
        story.wait(GAP * 2)
    assert story.said() == ""
    for word, reason in (("Failed", "PullFailed"), ("Degraded", "CrashLooping")):
        story.becomes("web", word, "as it is", reason=reason)
        story.wait(GAP * 2)
        assert story.said() == f"[failure] web is {word}\nweb is {word}: as it is", "another trouble is news"


def test_a_try_that_is_under_way_ends_nothing() -> None:
    story = Story()
    story.becomes("web", "Failed", "crash")
    story.wait(QUIET)
    story.said()
    story.becomes("web", "Progressing")
    story.becomes("other", "Failed", "crash")
    story.wait(GAP)
    assert "web" not in story.said()
    story.becomes("web", "Ready")
    story.wait(GAP)
    assert "web is Ready again" in story.said()


def test_what_a_person_stops_or_removes_is_over_without_a_word() -> None:
    story = Story()
    story.becomes("web", "Failed", "crash")
    story.becomes("db", "Failed", "crash")
    story.wait(QUIET)
    story.said()
    story.becomes("web", "Stopped")
    del story.apps["db"]
    story.hear("app.removed", "db")
    story.wait(3600)
    assert story.said() == ""
    assert story.digest.told == {}


def test_one_that_flaps_is_told_once_with_a_count_and_then_when_it_is_steady() -> None:
    story = Story()
    for _ in range(100):  # for 100 minutes
        story.becomes("web", "Failed", "crash")
        story.wait(30)
        story.becomes("web", "Ready")
        story.wait(30)
    told = story.said().split("\n")
    assert told[-1] == (
        "web goes wrong and comes back: 3 times in 2 min. It is told again when it has been the same for 15 min"
    )
    assert len(story.times) <= 2 * FLAPS
    story.wait(STEADY)
    assert story.said() == (
        "[success] web is Ready again, after 114 min; it went wrong 100 times\n"
        "web is Ready again, after 114 min; it went wrong 100 times"
    )


def test_one_that_flaps_faster_than_the_quiet_time_is_told_too() -> None:
    story = Story()
    for _ in range(20):
        story.becomes("web", "Failed", "crash")
        story.wait(3)
        story.becomes("web", "Ready")
        story.wait(3)
    assert story.said().startswith("[failure] web goes wrong and comes back\n")


def test_one_that_flapped_and_stays_in_trouble_is_told_as_such() -> None:
    story = Story()
    for _ in range(4):
        story.becomes("web", "Ready")
        story.wait(30)
        story.becomes("web", "Failed", "crash")
        story.wait(30)
    story.said()
    for _ in range(int(STEADY) // 100 + 1):  # tried again all the time: that is no change
        story.becomes("web", "Failed", "crash")
        story.wait(100)
    assert story.said() == "[failure] web is Failed\nweb is Failed: crash"


def test_who_requires_what_flaps_is_told_with_it() -> None:
    story = Story()
    for _ in range(20):
        story.becomes("db", "Failed", "crash")
        story.becomes("web", "Degraded", needs="db", root="db")
        story.wait(4)
        story.becomes("db", "Ready")
        story.becomes("web", "Ready", needs="db")
        story.wait(4)
    assert story.said().split("\n")[1:] == [
        "db goes wrong and comes back: 8 times in 1 min. It is told again when it has been the same for 15 min",
        "  and with it: web",
    ]
    story.wait(2 * STEADY)
    assert story.said().split("\n")[1:] == ["db is Ready again, after 17 min; it went wrong 20 times"]


def test_an_engine_that_is_restarted_is_not_told_and_one_that_is_lost_is() -> None:
    story = Story()
    story.hear("engine.lost", message="the engine cannot be reached")
    story.wait(4)
    story.hear("engine.back")
    story.wait(3600)
    assert story.said() == ""
    story.hear("engine.lost", message="the engine cannot be reached")
    story.wait(QUIET)
    assert story.said() == ("[failure] The engine is lost\nThe engine is lost: the engine cannot be reached")
    story.wait(590)
    story.hear("engine.back")
    story.wait(GAP)
    assert story.said().split("\n")[1:] == ["The engine answers again, after 10 min"]


def test_while_the_engine_is_lost_nothing_is_told_of_apps() -> None:
    story = Story()
    story.becomes("web", "Failed", "crash")
    story.hear("engine.lost", message="gone")
    story.wait(QUIET)
    assert "web" not in story.said()
    story.hear("engine.back")
    story.wait(GAP)
    assert "web is Failed: crash" in story.said()


def test_each_part_of_the_service_says_its_trouble_and_its_end() -> None:
    story = Story()
    story.hear("tree.lost", message="apps tree /srv/apps: not mounted. Nothing is stopped or removed")
    story.hear("state.lost", message="nothing can be remembered: disk full")
    story.hear("engine.strange", message="it has none of the 3 apps on record")
    story.hear("state.rebuilt", message="the state was damaged and is written anew")
    story.wait(QUIET)
    assert story.said().split("\n")[1:] == [
        "the state was damaged and is written anew",
        "The engine has nothing of ours: it has none of the 3 apps on record",
        "The apps tree is lost: apps tree /srv/apps: not mounted. Nothing is stopped or removed",
        "The state cannot be written: nothing can be remembered: disk full",
    ]
    for end in ("tree.back", "state.back", "engine.known"):
        story.hear(end)
    story.wait(GAP)
    assert [line.split(",")[0] for line in story.said().split("\n")[1:]] == [
        "The engine is the one on record", "The apps tree is back", "The state can be written again"
    ]  # fmt: skip


def test_what_an_earlier_process_told_is_not_told_again_and_its_end_is() -> None:
    before = Story()
    before.becomes("web", "Failed", "crash")
    before.wait(QUIET)
    story = Story(before.digest.memory())
    story.at = 600
    story.becomes("web", "Failed", "crash")
    story.wait(GAP)
    assert story.said() == ""
    story.becomes("web", "Ready")
    story.wait(GAP)
    assert story.said().split("\n")[1] == "web is Ready again, after 11 min"
    assert story.digest.memory() == ""


def test_a_memory_that_makes_no_sense_is_an_empty_one() -> None:
    for memory in (None, "", "{", "[]", '{"web": 1}', '{"web": {"word": "Failed"}}', "null"):
        assert Digest.recall(memory).told == {}


def test_a_message_is_bounded_whatever_happens() -> None:
    story = Story()
    for number in range(40):
        story.becomes(f"n{number:02}", "Failed", f"line one\nline two {'x' * 5000}", reason=f"Reason{number}")
    story.wait(QUIET)
    lines = story.said().split("\n")
    assert len(lines) == 1 + BLOCKS + 1
    assert lines[-1] == "and 30 more"
    assert all(len(line) <= LENGTH + 50 for line in lines)


def test_whatever_happens_there_is_at_most_one_message_a_minute_and_each_app_is_told_a_few_times_an_hour() -> (
    None
):
    chance, story = Random(7), Story()
    for _ in range(2000):
        app = f"n{chance.randrange(5)}"
        story.becomes(app, chance.choice(["Failed", "Degraded", "Ready", "Ready"]), "crash")
        story.wait(chance.choice([0.5, 5, 20, 60]))
    gaps = [later - earlier for earlier, later in zip(story.times, story.times[1:], strict=False)]
    assert min(gaps) >= GAP
    hours = story.at / 3600
    assert len(story.times) <= 5 * (2 * FLAPS + 1) * (hours + 1) / 2
    # When all is well in the end, all that was told to be wrong was told to be over.
    for number in range(5):
        story.becomes(f"n{number}", "Ready")
    story.wait(2 * STEADY)
    assert story.digest.told == {}
    assert story.digest.due() is None
    story.wait(4 * 3600)


def test_what_is_steady_again_may_fall_again_and_is_told_then() -> None:
    story = Story()
    for _ in range(4):
        story.becomes("web", "Failed", "crash")
        story.wait(30)
        story.becomes("web", "Ready")
        story.wait(30)
    story.wait(STEADY)
    story.said()
    story.becomes("web", "Failed", "another crash")
    story.wait(GAP)
    assert story.said() == "[failure] web is Failed\nweb is Failed: another crash"


def test_nothing_is_kept_of_apps_that_came_and_went() -> None:
    story = Story()
    for number in range(50):
        app = f"n{number}"
        story.becomes(app, "Failed", "crash")
        story.wait(GAP)
        del story.apps[app]
        story.hear("app.removed", app)
        story.wait(GAP)
    story.wait(3600)
    story.becomes("web", "Failed", "crash")
    story.wait(GAP)
    kept = {name: value for name, value in vars(story.digest).items() if isinstance(value, (dict, set, list))}
    assert {name: set(value) for name, value in kept.items() if value} == {
        "told": {"web"}, "_bad": {"web"}, "_falls": {"web"}
    }  # fmt: skip


def restarted(before: Story, **apps: Sight) -> Story:
    """The next process, a minute later, which finds these apps."""
    story = Story(before.digest.memory())
    story.at = before.at + GAP
    story.apps = apps
    story.digest.begin(story.at)
    return story


def test_trouble_that_began_just_before_a_restart_is_told_after_it() -> None:
    story = restarted(Story(), web=Sight("Failed", message="crash", trouble=True), db=READY)
    story.wait(QUIET)
    assert story.said() == "[failure] web is Failed\nweb is Failed: crash"
    story = restarted(story, **story.apps)
    story.wait(GAP)
    assert story.said() == "", "it was told"
    story = restarted(story, web=READY, db=READY)
    story.wait(QUIET)
    assert story.said().split("\n")[1] == "web is Ready again, after 3 min"
    assert story.digest.due() is None


def test_a_part_of_the_service_that_is_fine_after_a_restart_is_told_as_back() -> None:
    story = Story()
    for part in ("engine.lost", "engine.strange", "tree.lost", "state.lost"):
        story.hear(part, message="gone")
    story.wait(QUIET)
    story = restarted(story)
    story.wait(QUIET)
    assert [line.split(",")[0] for line in story.said().split("\n")[1:]] == [
        "The engine answers again", "The engine is the one on record", "The apps tree is back", "The state can be written again"
    ]  # fmt: skip
    assert story.digest.memory() == ""


def test_a_part_of_which_it_is_not_known_after_a_restart_is_looked_at_until_it_is() -> None:
    story = Story()
    story.hear("engine.lost", message="gone")
    story.wait(QUIET)
    story = restarted(story, web=Sight("Failed", message="crash", trouble=True))
    story.wrong = {"engine.lost": "the engine was not looked at yet"}
    story.wait(GAP)
    assert story.said() == "", "neither that it is back nor how the apps are"
    story.wrong = {}
    story.wait(2 * GAP)
    assert story.said().split("\n")[1:] == [
        "web is Failed: crash",
        "The engine answers again, after 2 min",
    ]
    assert story.digest.due() is None


def test_a_part_that_is_still_lost_after_a_restart_is_not_told_again_and_its_end_is() -> None:
    story = Story()
    story.hear("tree.lost", message="gone")
    story.wait(QUIET)
    story = restarted(story)
    story.wrong = {"tree.lost": "gone"}
    story.hear("tree.lost", message="gone")
    story.wait(10 * GAP)
    assert story.said() == ""
    assert story.digest.due() is None, "its end is heard of"
    story.wrong = {}
    story.hear("tree.back")
    story.wait(QUIET)
    assert story.said().startswith("[success] The apps tree is back")


def test_an_app_may_be_named_like_a_part_of_the_service() -> None:
    story = Story()
    for app in ("engine", "tree", "state"):
        story.becomes(app, "Failed", "crash")
    story.wait(QUIET)
    assert story.said().split("\n")[1:] == [
        "engine is Failed: crash",
        "state is Failed: crash",
        "tree is Failed: crash",
    ]
    story.wait(GAP)
    story.hear("engine.lost", message="gone")
    story.wait(GAP)
    assert story.said() == "[failure] The engine is lost\nThe engine is lost: gone"
    for app in ("engine", "tree", "state"):
        story.becomes(app, "Ready")
    story.hear("engine.back")
    story.wait(GAP)
    told = sorted(line.split(",")[0] for line in story.said().split("\n")[1:])
    assert told == [
        "The engine answers again",
        *(f"{app} is Ready again" for app in ("engine", "state", "tree")),
    ]
