"""Errors of asking: what was asked for names nothing that there is, or cannot be done as things are.

Nothing was changed when one is raised. What goes wrong while a wish is carried out is told by its actions.
"""

from __future__ import annotations

from controller.model.errors import HomeportError


class UnknownApp(HomeportError):
    """No app of that name is in the tree or on record."""


class Refused(HomeportError):
    """The app is known, and what is asked of it cannot be; the message says what can."""
