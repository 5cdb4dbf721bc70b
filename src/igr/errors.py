"""The ways a run can end badly: what the user gave cannot be used, or the computation failed."""


class InputError(ValueError):
    """Something the user gave cannot be used; the message says what came, what is needed, what to do."""


class OutputError(InputError):
    """A result cannot be written where the user wants it; what was there before is unchanged."""


class FitError(RuntimeError):
    """The computation failed though the input was sound; the last good state is kept."""
