"""Screens: what people read, made of the documents that programs read. Lines of text, no printing. Pure.

Where the documents come from does not belong here, nor how text is fitted into a width (`layout`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from controller.cli.layout import INDENT, Column, Page, age, beside, clock, fields, span, table
from controller.cli.plain import clean
from controller.control.reading import name_trouble, never_looked_at, parse_time, rfc3339, short

if TYPE_CHECKING:
    from controller.control.why import Why

Document = Mapping[str, Any]
TOLD = 3
"""Lines of a message in a list of many apps; the page of one app has all of it."""
LAST_EVENTS = 5
"""Events on the page of one app."""
_LONG = 40
"""Characters of a message above which it is told once on a page."""
_TITLES = 11
"""Width of the titles on the page of one app."""

_STATUS = (
    Column("APP"),
    Column("STATUS", painted=True),
    Column("GENERATION", least=110),
    Column("SINCE"),
)
_MORE = (Column("VERSION", least=130), Column("RUNNING", least=130))
_WIDE = (
    Column("VERSION", least=70),
    Column("REVISION", least=100),
    Column("SERVICES", least=70),
    Column("REQUIRES", least=110),
    Column("RETRIES", least=110),
    Column("NEXT TRY", least=90),
)
_MESSAGE = Column("MESSAGE")


def status(document: Document, now: datetime, page: Page, *, wide: bool = False) -> list[str]:
    """All apps: what is wrong with the service first, then a row an app."""
    lines = _service(document, page)
    if not document["apps"] and _lost_tree(document["service"]):
        return lines
    if not document["apps"]:
        root = document["service"].get("appsRoot") or "the apps tree"
        text = (
            f"No apps yet in {root}. Put a folder with a manifest.json there, or name another tree: "
            "--apps and --state, or HOMEPORT_APPS and HOMEPORT_STATE."
        )
        return lines + page.wrap(clean(text))
    on_terminal = page.width is not None
    more = _WIDE if wide else _MORE if on_terminal else ()
    live = bool(document["service"].get("running"))
    rows = []
    for app in document["apps"]:
        extra = _wide_cells(app, now) if wide else _more_cells(app) if on_terminal else []
        rows.append([*_cells(app, now), *extra, step_line(app, now) or message(app, now, live=live)])
    return lines + table([*_STATUS, *more, _MESSAGE], rows, page, TOLD)


def _service(document: Document, page: Page) -> list[str]:
    """What a person has to know of the service before they believe the rest."""
    service = document["service"]
    told = []
    engine, state = service.get("engine") or {}, service.get("state") or {}
    if not service.get("running"):
        told.append(
            "The service is not running; this is what it last recorded. Start it with `homeport run`."
        )
    elif engine.get("reachable") is False:
        strange = clean(engine.get("message") or "")
        away = "The engine cannot be reached; what runs goes on running. See `homeport doctor`."
        told.append(f"{strange[:1].upper()}{strange[1:]}." if strange else away)
    elif state.get("writable") is False:
        told.append(
            "Nothing can be remembered, so nothing is begun; what runs goes on running: "
            f"{clean(state['message'])}"
        )
    if lost := _lost_tree(service):
        told.append(f"The apps tree {clean(service.get('appsRoot') or '')} {clean(lost)}.")
    told += [f"Apps tree: {clean(trouble)}." for trouble in service.get("trouble") or ()]
    if service.get("held"):
        told.append(f"Removals held: {', '.join(map(clean, service['held']))}. See `homeport prune`.")
    return [line for text in told for line in page.wrap(text)]


def _lost_tree(service: Document) -> str:
    tree = service.get("tree") or {}
    return str(tree.get("message") or "cannot be read") if tree.get("readable") is False else ""


def _cells(app: Document, now: datetime) -> list[object]:
    return [app["name"], word(app), generation(app), age(since(app), now)]


def _more_cells(app: Document) -> list[object]:
    return [app["version"] or "-", _running(app)]


def _wide_cells(app: Document, now: datetime) -> list[object]:
    next_try = parse_time(app["nextTryTime"])
    return [
        app["version"] or "-",
        _revision(app) or "-",
        _running(app),
        ",".join(app["requires"]) or "-",
        app["retries"],
        _until(next_try, now) or "now" if next_try else "-",
    ]


def word(app: Document) -> str:
    """The one word; of an app of which nothing is known now the last one beside it."""
    last = app.get("lastSummary")
    return str(app["summary"]) + (f" (was {last})" if last and last != "Unknown" else "")


def since(app: Document) -> datetime | None:
    """When the word became true."""
    return parse_time(app.get("sinceTime"))


def message(app: Document, now: datetime, *, live: bool = True) -> str:
    """What a person reads first: of a suspended app that it is, of one that waits for a moment how long still."""
    if not app["conditions"]:
        told = never_looked_at(app["name"])
        return told if live or name_trouble(app["name"]) else f"{told}; the service is not running"
    text, left = _said(app), time_left(app, now, live=live)
    return f"{text} ({left})" if left else text


def _said(app: Document) -> str:
    """What the condition says that counts most."""
    if app["summary"] == "Suspended":
        return str(_condition(app, "Suspended").get("message", ""))
    # Nothing else is of use to a person who has taken the folder out by mistake, and has some seconds left.
    return str((_condition(app, "SourceMissing") or _condition(app, "Ready")).get("message", ""))


def time_left(app: Document, now: datetime, *, live: bool = True) -> str:
    """What a moment that comes will bring, and in how long; "" where none does. `live`: whether the service runs."""
    next_try, deadline = parse_time(app["nextTryTime"]), parse_time(app.get("deadlineTime"))
    if next_try is not None and app["summary"] in ("Failed", "Removing"):
        left = _until(next_try, now)
        return f"next try in {left}" if left else "next try now" if live else ""
    if deadline is not None and deadline > now and app["summary"] == "Progressing":
        return f"{span((deadline - now).total_seconds())} left"
    return ""


def _until(moment: datetime, now: datetime) -> str:
    """How long it takes until then; "" when that moment is there."""
    seconds = math.ceil((moment - now).total_seconds())
    return span(seconds) if seconds > 0 else ""


def step_line(app: Document, now: datetime) -> str:
    """What is being done for the app at this moment, for how long, and how far that has come; "" when nothing is."""
    step = app.get("activity")
    if not step:
        return ""
    began = parse_time(step["sinceTime"]) or now
    parts = [step["what"], *([step["detail"]] if step["detail"] else []), f"{age(began, now)} so far"]
    return ", ".join(parts)


def _condition(app: Document, kind: str) -> Document:
    return next((c for c in app["conditions"] if c["type"] == kind), {})


def generation(app: Document) -> str:
    """The newest one, and which one all was done for that can be, where that is another."""
    seen = app["observedGeneration"]
    if seen == app["generation"] or not app["generation"]:
        return str(app["generation"])
    return f"{app['generation']} (finished {seen if seen >= 0 else 'none'})"


def _revision(app: Document) -> str:
    return short((app["target"] or {"revision": ""})["revision"])


def _running(app: Document) -> str:
    services = app["observed"]["services"].values()
    running = sum(1 for service in services if service.get("state") == "running")
    return f"{running}/{len(app['desired']['services'])}"


# -- one app ----------------------------------------------------------------------------------------------------


def app_page(
    app: Document, document: Document, events: Sequence[Document], now: datetime, page: Page
) -> list[str]:
    """All that is known of one app, after the manner of `systemctl status`."""
    live = bool(document["service"].get("running"))
    began = since(app)
    title = " - ".join(part for part in (app["name"], clean(app["displayName"])) if part)
    head = f"{title} {clean(app['version'])}".rstrip()
    told = word(app)
    when = f" since {_moment(began, now, page)}, {age(began, now)} ago" if began is not None else ""
    status_line = f"{'Status':>{_TITLES}}: {page.paint(told)}{when}"
    facts = [
        ("Message", message(app, now, live=live)),
        ("Now", step_line(app, now)),
        ("Last error", _last_error(app)),
        ("Tries", _tries(app, now, page)),
        ("Kept out", _kept_out(app)),
        ("Files", f"generation {generation(app)}{_in_folder(app)}" if app["generation"] else ""),
        ("Runs", _runs(app)),
        ("Requires", _others(app["requires"], document)),
        ("Required by", _others(app["requiredBy"], document)),
        ("Volumes", ", ".join(app.get("volumes") or ())),
    ]
    lines = [*_service(document, page), *page.wrap(page.bold(head)), status_line]
    lines += fields(facts, page, _TITLES)
    sections = (
        _services(app, page),
        _conditions(app, now, page),
        event_lines(
            [{**e, "message": _once(e["message"], app)} for e in events],
            now,
            _narrower(page),
            one=True,
            most=TOLD,
        ),
    )
    for title, section in zip(("Services", "Conditions", "Last events"), sections, strict=True):
        if section:
            lines += ["", page.bold(title), *(INDENT + line for line in section)]
    if app["summary"] not in ("Ready", "Suspended", "Stopped"):
        lines += ["", *page.wrap(f"Why, and what helps: `homeport why {app['name']}`")]
    return lines


def _once(text: str, app: Document) -> str:
    """A long message of which the page has told already, without that part."""
    said = _said(app)
    return f"as above{text.removeprefix(said)}" if len(said) > _LONG and text.startswith(said) else text


def _last_error(app: Document) -> str:
    """Where the message says something else by now: in the middle of a try, say."""
    error = app["lastError"] or ""
    said = _condition(app, "Ready").get("message", "")
    return error if app["retries"] and app["summary"] != "Ready" and not (said and said in error) else ""


def _tries(app: Document, now: datetime, page: Page) -> str:
    next_try = parse_time(app["nextTryTime"])
    if not app["retries"] or app["summary"] == "Ready":
        return ""
    return str(app["retries"]) + (
        f", the next at {_moment(next_try, now, page)}" if next_try is not None else ""
    )


def _kept_out(app: Document) -> str:
    kept = app["quarantine"]
    if not kept:
        return ""
    why = f", {kept['reason']}: {kept['message']}"
    return f"generation {kept['generation']}" + ("" if kept["message"] in _said(app) else why)


def _in_folder(app: Document) -> str:
    return f" in {app['folder']}" if app.get("folder") else ""


def _runs(app: Document) -> str:
    if app["target"] is None:
        return "nothing, it was never applied"
    newest = app["target"]["revision"] == app["desired"]["revision"]
    return f"revision {_revision(app)}, " + ("the newest" if newest else "not the newest files")


def _others(names: Iterable[str], document: Document) -> str:
    words = {other["name"]: other["summary"] for other in document.get("words") or document["apps"]}
    return ", ".join(f"{name} ({words.get(name, 'missing')})" for name in names)


def _services(app: Document, page: Page) -> list[str]:
    wanted, seen = app["desired"]["services"], app["observed"]["services"]
    rows = []
    for name in sorted({*wanted, *seen}):
        now = seen.get(name, {})
        rows.append(
            [name, now.get("state") or "not there", now.get("health") or "-", now.get("restarts", "-"),
             now.get("image") or wanted.get(name, {}).get("image") or "-"]
        )  # fmt: skip
    columns = (
        Column("SERVICE"), Column("STATE", painted=True), Column("HEALTH", painted=True), Column("RESTARTS"), Column("IMAGE"),
    )  # fmt: skip
    return table(columns, rows, _narrower(page)) if rows else []


def _conditions(app: Document, now: datetime, page: Page) -> list[str]:
    columns = (
        Column("TYPE"), Column("STATUS"), Column("REASON"), Column("SINCE"), Column("MESSAGE", least=100),
    )  # fmt: skip
    rows = [
        [
            c["type"],
            c["status"],
            c["reason"],
            _moment(parse_time(c["lastTransitionTime"]), now, page),
            _once(c["message"], app),
        ]
        for c in app["conditions"]
    ]
    return table(columns, rows, _narrower(page), TOLD) if rows else []


def _narrower(page: Page) -> Page:
    return page if page.width is None else Page(page.width - len(INDENT), page.colour)


def history(document: Document, now: datetime, page: Page) -> list[str]:
    """The revisions of an app; `*` is the one that is kept running."""
    if not document["revisions"]:
        lines = [f"{clean(document['app'])} was never applied."]
    else:
        columns = tuple(map(Column, ("", "GENERATION", "REVISION", "VERSION", "APPLIED", "GOOD")))
        rows = [
            ("*" if known["current"] else "", known["generation"], short(known["revision"]), known["version"] or "-",
             _moment(parse_time(known["appliedTime"]), now, page), "good" if known["good"] else "-")
            for known in document["revisions"]
        ]  # fmt: skip
        lines = table(columns, rows, page)
    kept_out = document["quarantine"]
    if kept_out is not None:
        lines += page.wrap(
            clean(
                f"Generation {kept_out['generation']} is not tried again ({kept_out['reason']}): {kept_out['message']}"
            )
        )
    return lines


def plans(documents: Iterable[Document], page: Page) -> list[str]:
    """What is due, app by app, and why."""
    lines = []
    for entry in documents:
        if not entry["actions"]:
            continue
        lines.append(page.bold(f"{clean(entry['app']) or 'apps tree'}:"))
        for action in entry["actions"]:
            cause = f" - {action['cause']}" if action["cause"] else ""
            lines += page.wrap(clean(action["line"]) + clean(cause), INDENT, INDENT + " " * 15)
    return lines or ["Nothing to do."]


def left_volumes(app: str, volumes: Sequence[str]) -> str:
    """What a removed app left, and how to get rid of it."""
    names = clean(" ".join(volumes))
    return (
        f"{clean(app)} is not installed; its volumes are kept: {names}. "
        f"To delete them with all that is in them: `homeport purge {clean(app)} {names}`"
    )


def why(answer: Why, page: Page) -> list[str]:
    """What keeps an app from being Ready: its chain of causes, what runs, what comes by itself, what helps."""
    from controller.control.why import to_text

    on_terminal = page.width is not None
    text = to_text(answer, _when) if on_terminal else to_text(answer)
    lines = []
    for line in text.split("\n"):
        title, indent = line[:7], " " * 4
        if title.rstrip().endswith(":") or not title.strip():
            indent = " " * 7
        text, blanks = line.lstrip(), " " * (len(line) - len(line.lstrip()))
        lines += page.wrap(clean(text), blanks, indent)
    return [_painted(lines[0], answer, page), *lines[1:]]


def _when(moment: datetime, now: datetime) -> str:
    return f"{clock(moment, now)} ({age(moment, now)} ago)"


def _painted(line: str, answer: Why, page: Page) -> str:
    return line.replace(f" is {answer.summary}", f" is {page.paint(answer.summary)}", 1)


# -- events -----------------------------------------------------------------------------------------------------


def event_lines(
    events: Sequence[Document], now: datetime, page: Page, *, one: bool = False, most: int = 0
) -> list[str]:
    """What happened, each with when, of which app, what, and what of that in words. `one`: of one app, whose name is
    not said again. `most`: lines of these words that are shown of each; 0: all."""
    heads = [
        [_moment(parse_time(e["time"]), now, page), *([] if one else [clean(e["app"]) or "-"]), e["event"]]
        for e in events
    ]
    least = (8, 17) if one else (8, 12, 17)
    widths = [max(map(len, column), default=0) for column in zip(*heads, strict=True)]
    widths = [max(pair) for pair in zip(widths, least, strict=False)]
    lines = []
    for event, cells in zip(events, heads, strict=True):
        padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
        head = INDENT.join([*padded[:-1], page.paint(padded[-1], event["level"]), ""])
        lines += beside(head, sum(widths) + len(INDENT) * len(widths), event_text(event), page, most)
    return lines


def event_text(event: Document) -> str:
    """What happened in words."""
    return clean(event["message"])


def _moment(moment: datetime | None, now: datetime, page: Page) -> str:
    """As people's clocks show it on a terminal; as programs write it elsewhere."""
    if page.width is not None or moment is None:
        return clock(moment, now)
    return rfc3339(moment)
