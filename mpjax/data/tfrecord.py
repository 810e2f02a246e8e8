"""TFRecord framing: length, its CRC, payload, its CRC.

Format: https://www.tensorflow.org/tutorials/load_data/tfrecord. The CRC is masked CRC-32C
(tensorflow/core/lib/hash/crc32c.h: rotate by 15, add a constant).
"""

import struct

import google_crc32c
import numpy as np

_HEADER = struct.Struct("<QI")
_CRC = struct.Struct("<I")
_ADDED_BYTES = _HEADER.size + _CRC.size  # to a payload


class RecordError(ValueError):
    """A dataset, shard or record that cannot be trusted."""


def _masked_crc(data: bytes | memoryview) -> int:
    # The extension takes arrays, but no memoryviews.
    crc = google_crc32c.value(np.frombuffer(data, np.uint8))
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def frame_record(payload: bytes | memoryview) -> bytes:
    """Frames `payload` as a TFRecord."""
    length = len(payload).to_bytes(8, "little")
    header = _HEADER.pack(len(payload), _masked_crc(length))
    return b"".join((header, payload, _CRC.pack(_masked_crc(payload))))


def unframe_record(framed: bytes | memoryview, *, where: str) -> memoryview:
    """Checks both CRCs of a framed record and returns a view of its payload.

    Errors begin with `where`, the file and offset.

    Raises:
        RecordError: these bytes are not one whole, undamaged record.
    """
    if len(framed) < _ADDED_BYTES:
        raise RecordError(f"{where}: ends within a record; run `python -m data_prep.build` again")
    length, length_crc = _HEADER.unpack_from(framed)
    if _masked_crc(framed[:8]) != length_crc or length != len(framed) - _ADDED_BYTES:
        raise RecordError(
            f"{where}: no record of {len(framed) - _ADDED_BYTES} bytes begins here, so the index "
            "does not match the shard; delete the dataset's folder and run the same command again"
        )
    payload = memoryview(framed)[_HEADER.size : _HEADER.size + length]
    if _masked_crc(payload) != _CRC.unpack_from(framed, _HEADER.size + length)[0]:
        raise RecordError(
            f"{where}: checksum differs, the file is damaged; restore it, or delete the dataset's "
            "folder and run the same command again"
        )
    return payload
