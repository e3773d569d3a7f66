"""Deterministic, uncompressed ZIP: the same bytes each time, read with distrust, never unpacked to disk."""

from __future__ import annotations

import io
import re
import struct
import zipfile
from collections.abc import Mapping
from typing import IO

from acclimate.errors import BundleError

MAX_MEMBER = 64 * 2**20  # bytes; a policy for a small board is thousands of times smaller
MAX_MEMBERS = 64

_LOCAL_HEADER = 30  # bytes before each member's name
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a ZIP can state
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")
_BROKEN = (zipfile.BadZipFile, EOFError, struct.error, ValueError, NotImplementedError, RuntimeError, OSError)


def pack(members: Mapping[str, bytes]) -> bytes:
    """The members, in the order given, as a ZIP whose bytes depend on their names and content alone."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system = 3  # Unix, whatever system writes it
            info.external_attr = 0o644 << 16
            archive.writestr(info, content, zipfile.ZIP_STORED)
    return buffer.getvalue()


def unpack(stream: IO[bytes], where: str) -> dict[str, bytes]:
    """All members in the archive's order; `where` names the file in errors.

    Raises BundleError for a broken archive, for compressed, encrypted, oversized, duplicate or overlapping members,
    and for names that are not plain file names.
    """
    try:
        with zipfile.ZipFile(stream) as archive:
            infos = archive.infolist()
            _check_directory(infos, where)
            _check_extents(infos, archive.start_dir, where)
            return {info.filename: _read(archive, info, where) for info in infos}
    except _BROKEN as error:
        raise BundleError(
            f"{where} is truncated, or not a ZIP archive ({error}); make or copy it again"
        ) from None


def _check_directory(infos: list[zipfile.ZipInfo], where: str) -> None:
    if len(infos) > MAX_MEMBERS:
        raise BundleError(f"{where} has {len(infos)} members; at most {MAX_MEMBERS} are accepted")
    # zipfile skips what lies before an archive: in a truncated file it may find an .npz inside, itself a ZIP.
    if min((info.header_offset for info in infos), default=0) != 0:
        raise BundleError(
            f"{where} is truncated, or not a ZIP archive from its first byte; make or copy it again"
        )
    seen: set[str] = set()
    for info in infos:
        _check_member(info, where)
        if info.filename in seen:
            raise BundleError(f"{where} holds the member {info.filename!r} twice; names must be unique")
        seen.add(info.filename)


def _check_extents(infos: list[zipfile.ZipInfo], directory: int, where: str) -> None:
    """Each byte belongs to one member at most: together they are no larger than the file."""
    end = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise BundleError(
                f"{where}: member {info.filename!r} overlaps another one; the archive is damaged"
            )
        end = info.header_offset + _LOCAL_HEADER + len(info.filename) + info.compress_size
    if end > directory:
        raise BundleError(f"{where}: a member reaches beyond the others' end; the archive is damaged")


def _check_member(info: zipfile.ZipInfo, where: str) -> None:
    # orig_filename: zipfile cuts names at a NUL and rewrites separators in `filename`.
    if info.orig_filename != info.filename or not _NAME.fullmatch(info.filename):
        raise BundleError(
            f"{where} holds a member named {info.orig_filename!r}; "
            "names are letters, digits, '.', '_' and '-' only, without folders"
        )
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 0x1:
        raise BundleError(
            f"{where}: member {info.filename!r} is compressed or encrypted; expected it stored as is"
        )
    if max(info.file_size, info.compress_size) > MAX_MEMBER:
        raise BundleError(
            f"{where}: member {info.filename!r} is {info.file_size} bytes; at most {MAX_MEMBER} are accepted"
        )
    if info.file_size != info.compress_size:
        raise BundleError(
            f"{where}: member {info.filename!r} states two different sizes; the archive is damaged"
        )


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> bytes:
    try:
        return archive.read(info)
    except _BROKEN as error:
        raise BundleError(
            f"{where}: member {info.filename!r} is damaged ({error}); make or copy it again"
        ) from None
