"""Build raw zip and tar files."""

import io
import struct
import tarfile
import zlib
from typing import NamedTuple


def zeros(megabytes: int) -> bytes:
    """Return a deflate stream of zeros; its size is a thousandth of its content."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * megabytes + packer.flush()


class ZipMember(NamedTuple):
    """One member of a raw zip. A field that is None gets its true value."""

    name: bytes
    stored: bytes
    method: int = 0
    size: int | None = None
    crc: int | None = None
    flags: int = 0
    attributes: int = 0


def raw_zip(*members: ZipMember, offsets: dict[int, int] | None = None, shift: int = 0) -> bytes:
    """Return a zip file with any declared sizes and offsets of its members."""
    content, directory = io.BytesIO(), io.BytesIO()
    for number, member in enumerate(members):
        size = len(member.stored) if member.size is None else member.size
        crc = zlib.crc32(member.stored) if member.crc is None else member.crc
        facts = (20, member.flags, member.method, 0, 33, crc, len(member.stored), size, len(member.name), 0)
        offset = (offsets or {}).get(number, content.tell())
        content.write(struct.pack("<4s5H3I2H", b"PK\3\4", *facts) + member.name + member.stored)
        more = (0, 0, 0, member.attributes, offset)
        directory.write(struct.pack("<4s6H3I5H2I", b"PK\1\2", 3 << 8 | 20, *facts, *more) + member.name)
    length, start = directory.tell(), content.tell()
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, len(members), len(members), length, start + shift, 0)
    return content.getvalue() + directory.getvalue() + end


def tar_header(name: str, size: int | bytes = 0, kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    """Return the header of a tar member. A size in bytes is written unchanged."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    info.size = size if isinstance(size, int) else 0
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape"))
    if isinstance(size, bytes):
        header[124:136] = size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def tar_member(name: str, content: bytes, kind: bytes = tarfile.REGTYPE) -> bytes:
    return tar_header(name, len(content), kind) + content + bytes(-len(content) % 512)


def pax(records: bytes, name: str = "a/1.png", content: bytes = b"1") -> bytes:
    """Return a tar member that follows an extended header with these records."""
    return tar_member("pax", records, tarfile.XHDTYPE) + tar_member(name, content)


def record(key: str, value: str) -> bytes:
    """Return one record of an extended header, with its length."""
    rest = f" {key}={value}\n".encode()
    length = next(n for n in range(len(rest), len(rest) + 9) if n == len(rest) + len(str(n)))
    return str(length).encode() + rest


END = bytes(1024)
"""The two empty blocks that end a tar."""
