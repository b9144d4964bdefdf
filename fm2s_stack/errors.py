"""Every error the package raises on purpose.

::

    Fm2sError
    |-- UsageError (ValueError)                what was asked cannot be meant
    |-- StackError (ValueError)                the input cannot be used
    |   |-- StackNotFound (FileNotFoundError)  nothing is there
    |   |-- StackUnreadable                    not a format we read, or damaged
    |   |-- StackTruncated                     bytes, pages, files are missing
    |   |-- UnsupportedPixels (TypeError)      RGB, complex, 64-bit integers
    |   |-- NonFinitePixels                    NaN or infinity, frame named
    |   `-- NoiseUnknown                       noise that cannot be measured
    |-- OutputError (OSError)                  the output cannot be written or used
    |   |-- OutputExists (FileExistsError)     something is in the way
    |   |-- OutputLocked                       another run is writing it
    |   `-- OutputIncomplete                   the output was never sealed
    |-- MemoryTooSmall (MemoryError)           no plan fits in the allowed memory
    |-- DeviceError (RuntimeError)             no such device
    |-- ClusterError (RuntimeError)            a Dask cluster, or what failed on one
    `-- StoppedEarly                           asked to stop before it was done

Each message is one line that gives the file or option, the value met, what was
expected, and what to do. Only ``cli`` turns them into exit codes: ``UsageError``
into 2, ``StoppedEarly`` into 75, every other into 1.
"""


class Fm2sError(Exception):
    """Root of the errors of this package."""


class UsageError(Fm2sError, ValueError):
    """An option or argument that cannot be meant, or contradicts another."""


class StackError(Fm2sError, ValueError):
    """An input that cannot be used."""


class StackNotFound(StackError, FileNotFoundError):
    """There is no file at the path, or no file matches the pattern."""


class StackUnreadable(StackError):
    """The input is of a format we do not read, or its structure is damaged."""


class StackTruncated(StackError):
    """Bytes, pages or sibling files that the input promises are missing."""


class UnsupportedPixels(StackError, TypeError):
    """Pixels that are not grey levels we can denoise: RGB, complex, 64-bit integers."""


class NonFinitePixels(StackError):
    """NaN or infinity in the data, with the frame named."""


class NoiseUnknown(StackError):
    """Pixels that do not tell how large their noise is: constant, or too few."""


class OutputError(Fm2sError, OSError):
    """An output that cannot be written or used."""


class OutputExists(OutputError, FileExistsError):
    """Something stands where the output should go, and overwriting was not asked for."""


class OutputLocked(OutputError):
    """An output that another run is writing."""


class OutputIncomplete(OutputError):
    """An output that a run left unfinished."""


class MemoryTooSmall(Fm2sError, MemoryError):
    """No plan fits in the memory that the run may use."""


class DeviceError(Fm2sError, RuntimeError):
    """A device that does not exist or cannot be used."""


class ClusterError(Fm2sError, RuntimeError):
    """A Dask cluster that cannot be used or was lost, or units that failed on it."""


class StoppedEarly(Fm2sError):
    """A run that was asked to stop before it was done."""
