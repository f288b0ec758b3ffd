"""Values: how one becomes another of its kind. A reconcile makes two dozen, most of a record of nearly fifty fields.

Which values there are is said in the modules beside this one.
"""

from __future__ import annotations

from dataclasses import fields
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, TypeVar

__all__ = ["replace"]

T = TypeVar("T")

if TYPE_CHECKING:
    from dataclasses import replace  # the checker knows the fields of that one
else:

    def replace(value: T, /, **changes: Any) -> T:
        """The same frozen dataclass with these fields changed, as by `dataclasses.replace`, without its way through
        `__init__`: that was a third of the processor time of a run in which nothing is to be done.

        Only for classes whose fields are all that they have: no slots, no `__post_init__`. Raises `TypeError` for a
        field that there is not.
        """
        kind = type(value)
        if unknown := changes.keys() - _fields(kind):
            raise TypeError(f"{kind.__name__} has no field {', '.join(sorted(unknown))}")
        # Frozen means that nobody sets an attribute of it; to fill one that nobody has seen yet is to make it.
        made = kind.__new__(kind)
        made.__dict__.update(value.__dict__, **changes)
        for name in _found_once(kind):
            made.__dict__.pop(name, None)
        return made


@cache
def _fields(kind: Any) -> frozenset[str]:
    if hasattr(kind, "__post_init__"):
        raise TypeError(f"{kind.__name__} does more when it is made than take its fields")
    return frozenset(field.name for field in fields(kind))


@cache
def _found_once(kind: type) -> tuple[str, ...]:
    """Attributes that follow from the fields, and are kept with them."""
    return tuple(
        name
        for one in kind.__mro__
        for name, attribute in vars(one).items()
        if isinstance(attribute, cached_property)
    )
