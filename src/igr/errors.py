"""The two ways a run can end badly: the user's input cannot be used, or the computation failed."""


class InputError(ValueError):
    """Something the user gave cannot be used; the message says what came, what is needed, what to do."""


class FitError(RuntimeError):
    """The computation failed though the input was sound; the last good state is kept."""
