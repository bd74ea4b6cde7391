"""The error that a user can correct."""


class UserError(ValueError):
    """Raised when the user can correct the cause: an option, a file, a data set or a combination of choices.

    The message says what is wrong, which value was received, what was expected, and how to correct it. Commands print
    the message alone and exit with status 2. Every other exception is a bug and keeps its traceback.
    """
