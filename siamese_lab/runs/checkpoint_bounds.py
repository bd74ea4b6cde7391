"""Check a checkpoint of others: loading it takes no more memory than the file has bytes, and no program is in it."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, layout, strided

from siamese_lab.runs.plain_values import MAX_NUMBER, WrongValueError

MAX_PICKLE = 32 << 20
"""Largest description of the tensors and values. The network with the most layers needs less than 1 MB."""
MAX_MEMBERS = 200_000
MAX_VALUES, MAX_DEPTH = 2_000_000, 40
ROOM = 1 << 20
"""Bytes that a tensor may have beyond the size of the file, because torch stores repeated values once."""


def check_archive(place: Path) -> None:
    """Raise WrongValueError if a checkpoint is a zip file that unpacks to more bytes than it has.

    torch.save compresses nothing, so a compressed member is no weight of a run.

    Raises:
        zipfile.BadZipFile: if the directory of the zip file is damaged.
    """
    if not zipfile.is_zipfile(place):
        return
    size = place.stat().st_size
    with zipfile.ZipFile(place) as archive:
        members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise WrongValueError(f"it has {len(members):,} parts, expected at most {MAX_MEMBERS:,}")
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED:
            raise WrongValueError("its parts are compressed, but siamese_lab compresses nothing")
        if member.filename.endswith(".pkl") and member.file_size > MAX_PICKLE:
            raise WrongValueError(f"it describes its values in {member.file_size:,} bytes, expected {MAX_PICKLE:,}")
    unpacked = sum(member.file_size for member in members)
    if unpacked > size:
        raise WrongValueError(f"it unpacks to {unpacked:,} bytes, but has {size:,}")


def check_content(content: Any, size: int) -> None:
    """Raise WrongValueError if a loaded checkpoint holds too many values, or a tensor larger than the file.

    A tree that holds itself, or the same part many times, exceeds the bound of depth or number.

    Args:
        content: the loaded checkpoint.
        size: size of the file in bytes.
    """
    left = MAX_VALUES
    waiting = [(content, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise WrongValueError(f"its values are nested in more than {MAX_DEPTH} levels")
        if isinstance(value, Tensor):
            check_tensor(value, size)
        elif isinstance(value, int) and abs(value) > 10 * MAX_NUMBER and not isinstance(value, bool):
            raise WrongValueError(f"it holds a whole number of {value.bit_length():,} bits")
        elif isinstance(value, Mapping):
            left -= len(value)
            waiting += [(each, depth + 1) for each in value.values()]
        elif isinstance(value, (list, tuple, set)):
            left -= len(value)
            waiting += [(each, depth + 1) for each in value]
        if left < 0:
            raise WrongValueError(f"it holds more than {MAX_VALUES:,} values")


def check_tensor(tensor: Tensor, size: int) -> None:
    """Raise WrongValueError for a tensor that is sparse, or that would need more memory than the file has bytes."""
    kind: layout = tensor.layout
    if kind is not strided or tensor.is_quantized or tensor.device.type != "cpu":
        raise WrongValueError(f"it holds a tensor of the layout {kind} on {tensor.device}, expected dense ones")
    if tensor.numel() * tensor.element_size() > size + ROOM:
        shape = "×".join(map(str, tensor.shape))
        raise WrongValueError(f"it holds a tensor of {shape}, which needs more bytes than the file has")
