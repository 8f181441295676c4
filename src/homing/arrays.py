"""The wall between the arrays users bring and the NumPy arrays kept inside.

A user's simulator gets and returns arrays of the library its author uses; the prior's arrays decide which. PyTorch and
JAX are recognised by the modules their objects come from, and never imported here before the user has.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from homing.errors import ArgumentError
from homing.forks import check_fork

Library = Literal["numpy", "torch", "jax"]

_BFLOAT16 = "bfloat16"  # NumPy has no such type: its numbers count as the float32 that they exactly are


@dataclass(frozen=True)
class Kind:
    """The library, floating type and device of a user's arrays.

    Attributes:
        library: `"numpy"`, `"torch"` or `"jax"`.
        dtype: Name of the floating type, for example `"float32"`.
        device: The torch device as text, for example `"cuda:0"`; None elsewhere.
    """

    library: Library = "numpy"
    dtype: str = "float64"
    device: str | None = None

    def give(self, array: np.ndarray) -> Any:
        """A NumPy array as the user's kind; floating arrays take `dtype`, others keep theirs.

        Example:
            >>> Kind("numpy", "float32").give(np.zeros(2)).dtype
            dtype('float32')
        """
        array = np.asarray(array)
        if np.issubdtype(array.dtype, np.floating):
            array = array.astype(self.dtype, copy=False)
        if self.library == "torch":
            import torch

            return torch.from_numpy(np.array(array)).to(self.device or "cpu")  # a copy: torch refuses read-only memory
        if self.library == "jax":
            check_fork()
            import jax

            return jax.device_put(array)
        return array


NUMPY = Kind()


def library_of(value: Any) -> Library | None:
    """The array library that an object, or the class it was made from, comes from; None if it is none of the three.

    Example:
        >>> library_of(np.zeros(2)), library_of([1.0, 2.0])
        ('numpy', None)
    """
    for cls in type(value).__mro__:
        root = cls.__module__.partition(".")[0]
        if root == "torch":
            return "torch"
        if root in ("jax", "jaxlib", "numpyro"):
            return "jax"
        if root == "numpy":
            return "numpy"
    return None


def kind_of(value: Any) -> Kind | None:
    """The kind of an array, or None if the value is not an array of a known library.

    Example:
        >>> kind_of(np.zeros(3, np.float32))
        Kind(library='numpy', dtype='float32', device=None)
    """
    library = library_of(value)
    if library is None or not hasattr(value, "dtype"):
        return None
    name = str(value.dtype).removeprefix("torch.")
    if library == "torch":
        default = str(sys.modules["torch"].get_default_dtype()).removeprefix("torch.")
        is_floating, device = value.dtype.is_floating_point, str(value.device)
    else:
        default, device = "float32" if library == "jax" else "float64", None
        is_floating = np.issubdtype(value.dtype, np.floating) or name == _BFLOAT16
    return Kind(library, ("float32" if name == _BFLOAT16 else name) if is_floating else default, device)


def to_numpy(value: Any, name: str = "value") -> np.ndarray:
    """Any array, number or nested sequence as a NumPy array; torch tensors are detached and moved to the CPU.

    What a masked array masks is missing, and NaN here.

    Raises:
        ArgumentError: If the value is not numeric.

    Example:
        >>> to_numpy([1, 2.5])
        array([1. , 2.5])
    """
    if library_of(value) == "torch" and hasattr(value, "detach"):
        value = value.detach().cpu().resolve_conj().resolve_neg()
        value = (value.float() if str(value.dtype).endswith(_BFLOAT16) else value).numpy()
    elif isinstance(value, (list, tuple)) and any(library_of(v) == "torch" for v in value):
        value = [to_numpy(v, name) for v in value]
    try:
        array = np.asarray(value)
    except Exception as error:
        raise ArgumentError(f"{name} must be an array of numbers, found {type(value).__name__}: {error}") from error
    if array.dtype.name == _BFLOAT16:
        array = array.astype(np.float32)
    if array.dtype.kind not in "biuf":
        advice = " Does the function end with a return?" if value is None else ""
        if isinstance(value, dict):
            advice = f" Return np.array(list(d.values())) instead of the dict d, which has {len(value)} entries."
        raise ArgumentError(
            f"{name} must be an array of real numbers, found dtype {array.dtype} ({type(value).__name__}).{advice}"
        )
    if isinstance(value, np.ma.MaskedArray) and value.mask.any():
        array = np.where(value.mask, np.nan, array)
    return array
