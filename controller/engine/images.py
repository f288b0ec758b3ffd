"""Images on the engine: what a name stands for now, and the tags of ours that keep an image here.

Getting and building images is Compose's work; which image an app has to run is the caller's knowledge.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any

from controller.engine.client import Clients
from controller.model.errors import AppError
from controller.model.observed import Rendered

KEPT = "homeport.local/keep/"
"""What our tags begin with. No registry has that name, so that no pull and no push can mean them."""
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*")  # of a repository's name


class Images:
    """Asks and tags; keeps no state of its own."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def id_of(self, image: str) -> str:
        """The id of the image with this name or id; "" when there is none."""
        from docker.errors import NotFound

        try:
            found = self._clients.read(
                f"looking for image {image}", lambda api: api.inspect_image(image), missing=True
            )
        except NotFound:
            return ""
        return str(found["Id"])

    def ids(self, rendered: Rendered) -> dict[str, str]:
        """See `Engine.image_ids`. One question for each image."""
        found = {image: self.id_of(image) for image in {s.image for s in rendered.services}}
        return {s.name: found[s.image] for s in rendered.services if found[s.image]}

    def pins(self, app: str, rendered: Rendered, images: Mapping[str, str]) -> dict[str, str]:
        """Service to the image it has to be given; "" where its name stands for that image.

        Left out is a service whose image is gone together with its name: what is pulled or built by that name is
        the nearest to it. Raises `AppError("ApplyFailed", …)` when the name stands for another one instead.
        """
        pins: dict[str, str] = {}
        for service in rendered.services:
            wanted = images.get(service.name)
            if not wanted:
                continue
            there = self.id_of(service.image)
            if there == wanted:
                pins[service.name] = ""
            elif self.id_of(wanted):
                pins[service.name] = wanted
            elif there:
                raise AppError(
                    "ApplyFailed",
                    f"compose up {app}: the image {wanted[:19]} that service {service.name} has to run is gone, and "
                    f"{service.image} stands for another one now; update the app to run that one",
                )
        return pins

    def keep(self, app: str, ids: Collection[str]) -> None:
        """See `Engine.keep_images`. What is tagged already is not tagged again."""
        from docker.errors import NotFound

        repository = KEPT + _component(app)
        tags = self._tags(repository)
        wanted = {f"{repository}:{_short(one)}": one for one in ids}
        for tag, one in wanted.items():
            if tags.get(tag) == one:
                continue
            with (
                suppress(NotFound),
                self._clients.borrow(f"keeping an image of {app}", "ApplyFailed", missing=True) as api,
            ):
                api.tag(one, repository, _short(one), force=True)
        for tag in sorted(tags.keys() - wanted.keys()):
            # Refused while a container is of an image that has no other name; then the next time takes it off.
            with (
                suppress(NotFound, AppError),
                self._clients.borrow(f"letting go an image of {app}", "ApplyFailed", missing=True) as api,
            ):
                api.remove_image(tag, noprune=True)

    def _tags(self, repository: str) -> dict[str, str]:
        images: Iterable[Mapping[str, Any]] = self._clients.read(
            "listing images", lambda api: api.images(name=repository)
        )
        return {
            tag: str(image["Id"])
            for image in images
            for tag in image.get("RepoTags") or ()
            if tag.startswith(f"{repository}:")
        }


def _short(image_id: str) -> str:
    return image_id.removeprefix("sha256:")[:12]


def _component(app: str) -> str:
    # `a-` and `a_-b` are names of apps, but not of repositories.
    return app if _COMPONENT.fullmatch(app) else hashlib.sha256(app.encode()).hexdigest()[:32]
