"""The mistakes of a user: one exception class, whose message is shown alone. A fault of ours keeps its traceback.

A kind that Python has an exception for is that as well: who calls attngan from Python can catch either.
"""


class AttnganError(Exception):
    """A mistake that the user can mend; the message says what is wrong and what to do.

    Attributes:
        exit_code: What the command line ends with.
    """

    exit_code = 1


class InputError(AttnganError, ValueError):
    """A value, the content of a file, or a combination of options that cannot be used."""


class MissingFileError(AttnganError, FileNotFoundError):
    """A file or folder that was named, or belongs to one that was named, is not there."""


class FileInTheWayError(AttnganError, FileExistsError):
    """What would be written is there already, and is not overwritten."""


class NoRoomError(AttnganError, OSError):
    """The disk has no room for what would be written."""


class MissingPackageError(AttnganError, ModuleNotFoundError):
    """A package of one of the extras is not installed."""
