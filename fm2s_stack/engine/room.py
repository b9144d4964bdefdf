"""Whether devices can do what is asked of them, before any work."""

from __future__ import annotations

from fm2s_stack.errors import MemoryTooSmall, UsageError
from fm2s_stack.plan import Cut
from fm2s_stack.settings import Precision

AMPERE = (8, 0)  #: compute capability of the first GPUs that multiply TF32 and bfloat16


def require_devices(devices: str, cut: Cut, itemsize: int, precision: Precision) -> None:
    """Refuse devices that lack the arithmetic, or the memory for one plane.

    Parameters
    ----------
    devices
        ``cpu``, ``cuda`` of a cluster, whose workers look for themselves, or those of this
        process as in ``cuda:0,cuda:1``.
    cut
        Rows and columns of a unit.
    itemsize
        Bytes of a pixel that is read.
    precision
        Arithmetic that is asked for.

    Raises
    ------
    UsageError
        If one has not got the arithmetic.
    MemoryTooSmall
        If the free memory of one does not hold a plane.
    """
    if devices == "cpu":
        if precision == "tf32":
            raise UsageError(
                "--precision tf32: CPUs have no such arithmetic; give float32 or bf16, or a GPU "
                "with --device"
            )
        return
    for device in devices.split(","):
        if ":" in device:
            _require_arithmetic(device, precision)
            _require_memory(device, cut, itemsize)


def _require_arithmetic(device: str, precision: Precision) -> None:
    import torch

    found = torch.cuda.get_device_capability(device)
    if precision != "float32" and found < AMPERE:
        raise UsageError(
            f"--precision {precision}: {device} has the compute capability {found[0]}.{found[1]}, "
            f"{precision} needs {AMPERE[0]}.{AMPERE[1]} or more; give float32"
        )


def _require_memory(device: str, cut: Cut, itemsize: int) -> None:
    from fm2s_stack.fm2s.batch import CALL_BYTES, bytes_of_plane
    from fm2s_stack.fm2s.conveyor import affordable_batch

    plane = bytes_of_plane((cut.rows, cut.columns), itemsize)
    if affordable_batch(device, plane, CALL_BYTES) < 1:
        raise MemoryTooSmall(
            f"{device} has too little free memory: a part of {cut.rows} x {cut.columns} pixels "
            f"needs {(plane + CALL_BYTES) / 1e9:.2f} GB; end other programs on it, give another "
            "--device, or a smaller --memory, by which planes are cut smaller"
        )
