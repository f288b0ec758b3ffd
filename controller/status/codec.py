"""Codec: frozen dataclasses to JSON and back, driven by their annotations.

What is unknown (written by another version) is ignored and what is missing takes its default, so that an
update or a step back loses nothing it need not lose. Where the JSON is kept is the store's.
"""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
_Step = Callable[[Any], Any]


@lru_cache(maxsize=128)  # the moments of one run are the same few, written many times
def as_kept(moment: datetime) -> str:
    """The moment as it is stored: in UTC, with microseconds always written, so that such texts sort as the moments do."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def to_json(value: object) -> str:
    """The dataclass value as JSON text."""
    return json.dumps(
        _steps_of(type(value))[0](value), separators=(",", ":"), ensure_ascii=False, default=str
    )


def from_json(kind: type[T], text: str) -> T:
    """The value of that dataclass. Raises `ValueError` when the text cannot be one."""
    try:
        value: T = _steps_of(kind)[1](json.loads(text))
    except (TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a {kind.__name__}: {error}") from error
    return value


def _same(value: Any) -> Any:
    return value


def _steps_of(kind: Any) -> tuple[_Step, _Step]:
    return _steps(kind)


@cache
def _steps(hint: Any) -> tuple[_Step, _Step]:
    """(encode, decode) for values of this annotation, compiled once."""
    if dataclasses.is_dataclass(hint):
        return _dataclass_steps(hint)
    if hint is datetime:
        return as_kept, datetime.fromisoformat
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType) and type(None) in arguments:
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return _optional_steps(*_steps(inner))
    if origin is tuple:
        return _tuple_steps(arguments)
    if origin is Mapping:
        return _mapping_steps(*_steps(arguments[1]))
    if origin is Literal or hint in (str, int, float, bool, object, Any):
        return _same, _same
    raise TypeError(f"no codec for {hint!r}")


def _dataclass_steps(kind: Any) -> tuple[_Step, _Step]:
    hints = get_type_hints(kind)
    steps = [(field.name, *_steps(hints[field.name])) for field in dataclasses.fields(kind)]
    plain = [name for name, encode, _ in steps if encode is _same]
    worked = [(name, encode) for name, encode, _ in steps if encode is not _same]

    def encode_all(value: Any) -> dict[str, Any]:
        fields = value.__dict__
        document = {name: fields[name] for name in plain}
        for name, encode in worked:
            document[name] = encode(fields[name])
        return document

    def decode_all(document: Any) -> Any:
        return kind(**{name: decode(document[name]) for name, _, decode in steps if name in document})

    return encode_all, decode_all


def _optional_steps(encode: _Step, decode: _Step) -> tuple[_Step, _Step]:
    if encode is _same:
        return _same, _same
    return (
        lambda value: None if value is None else encode(value),
        lambda value: None if value is None else decode(value),
    )


def _tuple_steps(arguments: tuple[Any, ...]) -> tuple[_Step, _Step]:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        encode, decode = _steps(arguments[0])
        # JSON writes a tuple as it writes a list, so plain items need no copy on the way out.
        out = _same if encode is _same else (lambda value: [encode(item) for item in value])
        return out, lambda value: tuple(decode(item) for item in value)
    steps = [_steps(argument) for argument in arguments]
    return (
        lambda value: [step[0](item) for step, item in zip(steps, value, strict=True)],
        lambda value: tuple(step[1](item) for step, item in zip(steps, value, strict=True)),
    )


def _mapping_steps(encode: _Step, decode: _Step) -> tuple[_Step, _Step]:
    if encode is _same:
        # A copy: the caller's mapping may be any Mapping, JSON only knows dict.
        return dict, dict
    return (
        lambda value: {key: encode(item) for key, item in value.items()},
        lambda value: {key: decode(item) for key, item in value.items()},
    )
