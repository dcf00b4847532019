"""Reads the `.wandb` file of an offline run.

A LevelDB log: a header of 7 bytes, then blocks of 32 KiB that hold pieces of records. A piece is
crc32 (4 bytes), length (2 bytes), kind (1 byte: 1 whole, 2 first, 3 middle, 4 last), and its bytes;
the pieces of a record joined are one protobuf message. The file may end within a piece.
"""

import json
import struct
import zlib
from pathlib import Path

from wandb.proto.wandb_internal_pb2 import Record

BLOCK, HEADER = 32 * 1024, 7


def records(path: Path) -> list[Record]:
    """All records of the file, in order."""
    content, at, pieces, found = path.read_bytes(), HEADER, b"", []
    assert content[:4] == b":W&B"
    while at + HEADER <= len(content):
        if BLOCK - at % BLOCK < HEADER:  # the rest of a block too short for a piece is padding
            at += BLOCK - at % BLOCK
            continue
        checksum, length, kind = struct.unpack_from("<IHB", content, at)
        piece = content[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if at > len(content):
            break
        assert zlib.crc32(bytes([kind]) + piece) == checksum
        pieces = pieces + piece if kind in (3, 4) else piece
        if kind in (1, 4):
            found.append(Record.FromString(pieces))
    return found


def values(items: object) -> dict[str, object]:
    """The items of a config, history or summary record by key; nested keys joined by dots."""
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}
