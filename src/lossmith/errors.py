"""The errors that a user can mend."""


class InputError(ValueError):
    """Something that the user gave cannot be used.

    The message is one sentence that names the input and the remedy; the command line prints it without a
    traceback and ends with exit code 2.
    """
