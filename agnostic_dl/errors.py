"""Every error that agnostic_dl raises on purpose.

Each message says what was expected, what came, and what to do about it. Classes also derive from
the built-in exception that a caller without this library in mind would expect.
"""


class AgnosticDLError(Exception):
    """Base of all errors of this library."""


class UsageError(AgnosticDLError, ValueError):
    """An argument, option or name is wrong: the caller can fix the call."""


class DataError(AgnosticDLError, ValueError):
    """A file or folder does not hold what it should; the message names its path."""


class CheckpointError(DataError):
    """A checkpoint is absent, damaged, or of another model."""


class ShapeError(AgnosticDLError, ValueError):
    """An array has the wrong shape; the message names the layer and both shapes."""


class DTypeError(AgnosticDLError, TypeError):
    """An array has the wrong kind of number."""


class ArrayMixError(AgnosticDLError, TypeError):
    """Arrays of two libraries or of two devices meet in one operation."""


class GradientError(AgnosticDLError, RuntimeError):
    """A derivative was asked for that does not exist or has no rule."""


class NonFiniteError(AgnosticDLError, ArithmeticError):
    """The loss or a gradient became NaN or infinite."""


class OutOfMemoryError(AgnosticDLError, MemoryError):
    """A step did not fit into memory; the message names batch, bytes and a way out."""


class PluginError(AgnosticDLError, RuntimeError):
    """A plugin could not be found, imported or used."""


class UnknownNameError(PluginError, UsageError):
    """No plugin, model, loss or dtype has that name here."""


class BackendUnavailable(PluginError):
    """A backend is installed, but cannot run here (no device, library missing)."""


class ConformanceError(AgnosticDLError, AssertionError):
    """A plugin broke a rule of its contract; the message lists every rule that failed."""


class MissingExtraError(AgnosticDLError, ImportError):
    """A feature needs an optional dependency; the message names the extra that installs it."""


class AgnosticDLWarning(UserWarning):
    """Base of all warnings of this library."""


class CaptureWarning(AgnosticDLWarning):
    """A training step could not be captured as a program, and runs eagerly."""


class CheckpointWarning(AgnosticDLWarning):
    """A checkpoint was usable only in part: an older generation, or made by other versions."""
