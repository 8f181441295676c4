"""Arrays by name as bytes, in NumPy's own formats and without pickle: reading a stranger's file runs no code.

What a file says of its sizes is checked against the bytes that it has before anything is made of it: a header may claim
terabytes, and a small archive unpack to gigabytes.
"""

from __future__ import annotations

import errno
import io
import math
import os
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from homing.errors import ArgumentError

_UNPACKED = 2**28  # bytes that a compressed archive may unpack to,
_TIMES = 64  # or so many times its own size, if that is more
_KINDS = "biufcUS"
_LONGEST = 2**20  # an axis' length that is believed where an array has no numbers
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what NumPy writes


def to_npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The arrays as the bytes of an .npz file.

    Raises:
        ArgumentError: If an array holds objects.

    Example:
        >>> from_npz(to_npz({"layer/0": np.arange(3)}))
        {'layer/0': array([0, 1, 2])}
    """
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            array = np.asarray(array)
            if array.dtype.hasobject:
                raise ArgumentError(f"The array {name!r} holds objects; only numbers and texts can be stored.")
            # a ZipInfo of our own has a fixed date: equal arrays give equal bytes, whatever the clock says
            with archive.open(zipfile.ZipInfo(name + ".npy"), "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)
    return file.getvalue()


def from_npz(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of an .npz file, which `to_npz` or NumPy packed.

    Raises:
        ValueError: If it is none, or is not what it says; whatever else is wrong with an archive is another Exception.
    """
    most = max(_UNPACKED, _TIMES * len(content))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
        if any(entry.compress_type not in _COMPRESSIONS for entry in entries):
            raise ValueError("it is compressed in a way that NumPy does not use")
        stored = [entry for entry in entries if entry.compress_type == zipfile.ZIP_STORED]
        if sum(entry.file_size for entry in stored) > len(content):
            raise ValueError("parts of the archive overlap")
        if (total := sum(entry.file_size for entry in entries)) > most:
            raise ValueError(
                f"its {len(content):,} bytes unpack to {total:,}, more than is believed; save it without compression"
            )
        return {entry.filename.removesuffix(".npy"): from_npy(_unpacked(archive, entry)) for entry in entries}


def _unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    with archive.open(entry) as file:
        content = file.read(entry.file_size)  # which unpacks no more than it says
        if len(content) != entry.file_size or file.read(1):
            raise ValueError(f"{entry.filename!r} has another size than it says")
    return content


def from_npy(content: bytes) -> np.ndarray:
    """The array of an .npy file, of numbers or texts.

    Raises:
        ValueError: If it is none, or is not what it says.

    Example:
        >>> file = io.BytesIO()
        >>> np.save(file, np.arange(3))
        >>> from_npy(file.getvalue())
        array([0, 1, 2])
    """
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"it has version {version} of NumPy's format, expected 1.0 or 2.0")
    shape, by_columns, dtype = _HEADERS[version](file)
    if dtype.hasobject:
        raise ValueError("Object arrays cannot be loaded when allow_pickle=False")
    if dtype.kind not in _KINDS or dtype.itemsize == 0:
        raise ValueError(f"it holds neither numbers nor texts but {dtype}")
    data = memoryview(content)[file.tell() :]
    count = math.prod(shape)
    if any(type(size) is not int or not 0 <= size <= max(len(data), _LONGEST) for size in shape) or len(shape) > 32:
        raise ValueError(f"it has {len(data):,} bytes of numbers, and says that its shape is {shape}")
    if count * dtype.itemsize > len(data):
        raise ValueError(f"it says that it has {count * dtype.itemsize:,} bytes of numbers, and has {len(data):,}")
    array = np.frombuffer(data[: count * dtype.itemsize], dtype) if count else np.empty(0, dtype)
    if dtype.kind == "b":
        array = array.view(np.uint8) != 0
    array = array.reshape(shape, order="F" if by_columns else "C")
    return array.astype(dtype.newbyteorder("="))  # a copy, which may be written to


def read_plain(path: Path) -> bytes:
    """The content of a file that is one: no device or pipe, which may have no end.

    Raises:
        OSError: If it cannot be read.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "it is no plain file", str(path))
    return path.read_bytes()


def check_filled(given: int, all_rows: int, row_bytes: int) -> None:
    """Make sure that rows without data do not make an array many times as large as what was given.

    Raises:
        ValueError: If they do.
    """
    if all_rows * row_bytes > max(_UNPACKED, _TIMES * given * row_bytes):
        raise ValueError(
            f"{given:,} of {all_rows:,} simulations have data, {row_bytes:,} bytes each: an array for all of them "
            f"would take {all_rows * row_bytes:,} bytes"
        )
