"""Streams in JSON, as model cards carry them."""

import dataclasses
import functools
import math
import types
import typing
from typing import Any

from codec_zoo.stream import Stream
from codec_zoo.stream_coders import check


def to_json(stream: Stream) -> dict[str, Any]:
    """A stream as JSON has it; :func:`parse` is the inverse."""
    found: dict[str, Any] = _to_json(stream)
    return found


def _to_json(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        fields = {field.name: _to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"type": type(value).__name__, **fields}
    return [_to_json(item) for item in value] if isinstance(value, tuple) else value


def parse(data: Any) -> Stream:
    """The stream in what JSON gave, checked in all its parts.

    Raises:
        ValueError: it is none; the message names the field.
    """
    return _parse(data, Stream, "stream")


def _parse(value: Any, form: Any, field: str) -> Any:
    """A value of a form: a record class of a stream, a tuple, a union, or a plain type."""
    forms = typing.get_args(form) if isinstance(form, types.UnionType) else (form,)
    if value is None and types.NoneType in forms:
        return None
    records = {
        known.__name__: known for known in forms if isinstance(known, type) and dataclasses.is_dataclass(known)
    }
    if records:
        return _parse_record(value, records, field)
    (plain,) = (known for known in forms if known is not types.NoneType)
    if typing.get_origin(plain) is tuple:
        check(isinstance(value, list), field, "is no list")
        return tuple(_parse(item, typing.get_args(plain)[0], f"{field}[{i}]") for i, item in enumerate(value))
    fits = type(value) is plain or (plain is float and type(value) is int)
    fits = fits and (type(value) is not float or math.isfinite(value))
    check(fits, field, f"is no {plain.__name__}")
    return value


@functools.cache
def _fields(form: type) -> dict[str, Any]:
    """The fields of a class and their forms."""
    return typing.get_type_hints(form)


def _parse_record(value: Any, records: dict[str, Any], field: str) -> Any:
    """A value of one of several classes, which its ``type`` names."""
    check(isinstance(value, dict), field, "is no record")
    name = value.get("type")
    check(isinstance(name, str) and name in records, f"{field}.type", f"is none of {', '.join(records)}")
    form = records[name]
    forms = _fields(form)
    optional = {key.name for key in dataclasses.fields(form) if key.default is not dataclasses.MISSING}
    missing, unknown = forms.keys() - value.keys() - optional, value.keys() - forms.keys() - {"type"}
    check(not missing, field, f"lacks {', '.join(sorted(missing))}")
    check(not unknown, field, f"has unknown {', '.join(sorted(unknown))}")
    fields = {key: _parse(value[key], forms[key], f"{field}.{key}") for key in forms if key in value}
    try:
        return form(**fields)
    except ValueError as error:
        raise ValueError(f"{field}.{error}") from error
