"""`tf.train.Example` read without copying: values of bytes features are views of the payload.

Only the wire format that the message needs (https://protobuf.dev/programming-guides/encoding):

    Example { Features features = 1; }
    Features { map<string, Feature> feature = 1; }
    Feature { oneof { BytesList = 1; FloatList = 2; Int64List = 3; } }, each { repeated value = 1; }
"""

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3


class ExampleError(ValueError):
    """Bytes that are no tf.train.Example."""


def parse(payload: bytes | memoryview) -> dict[str, list]:
    """Parses a serialised Example.

    Args:
        payload: the serialised message.

    Returns:
        The values of each feature: memoryviews of `payload`, floats, or ints.

    Raises:
        ExampleError: the bytes are no Example.
    """
    view = memoryview(payload)
    features: dict[str, list] = {}
    try:
        for _, message in _fields(view):
            for _, entry in _fields(message):
                pair = dict(_fields(entry))
                features[bytes(pair[1]).decode()] = _values(pair.get(2, view[:0]))
    except (IndexError, KeyError, TypeError, ValueError, struct.error) as error:
        raise ExampleError(f"not a tf.train.Example ({error!r})") from error
    return features


def _fields(view: memoryview) -> Iterator[tuple[int, Any]]:
    """Yields (field number, value): a view for bytes, an int for the numeric wire types."""
    at, end = 0, len(view)
    while at < end:
        tag, at = _varint(view, at)
        wire = tag & 7
        if wire == _BYTES:
            length, at = _varint(view, at)
            if at + length > end:
                raise ValueError(f"a field of {length} bytes ends beyond the message")
            yield tag >> 3, view[at : at + length]
            at += length
        elif wire == _VARINT:
            value, at = _varint(view, at)
            yield tag >> 3, value
        elif wire in (_FIXED32, _FIXED64):
            width = 4 if wire == _FIXED32 else 8
            yield tag >> 3, int.from_bytes(view[at : at + width], "little")
            at += width
        else:
            raise ValueError(f"wire type {wire}")


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _values(feature: memoryview) -> list:
    for kind, content in _fields(feature):
        if kind == _BYTES_LIST:
            return [value for _, value in _fields(content)]
        if kind == _FLOAT_LIST:
            return [number for _, value in _fields(content) for number in _floats(value)]
        if kind == _INT64_LIST:
            return [number for _, value in _fields(content) for number in _integers(value)]
        raise ValueError(f"a feature of kind {kind}")
    return []


def _floats(value: int | memoryview) -> list[float]:
    # Packed, as every writer does, or one by one, as the format allows.
    if isinstance(value, int):
        return [struct.unpack("<f", value.to_bytes(4, "little"))[0]]
    return np.frombuffer(value, "<f4").astype(float).tolist()


def _integers(value: int | memoryview) -> list[int]:
    if isinstance(value, int):
        return [_signed(value)]
    numbers, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        numbers.append(_signed(number))
    return numbers


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value
