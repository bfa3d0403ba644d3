"""How an error is named in logs and messages, and errors that an operator can mend."""


class OperatorError(Exception):
    """Why a process cannot go on, where an operator can mend it: shown in a line, without a stack trace.

    The message is for engineers; `french` says the same, and what to do, to the operator at the terminal.
    """

    def __init__(self, message: str, french: str) -> None:
        super().__init__(message)
        self.french = french


def describe_defect(error: BaseException) -> str:
    """The error's class and what it says, for errors that were not expected at the place where they came up."""
    return f"{type(error).__name__}: {error}"


def describe(error: BaseException | str) -> str:
    """What the error says, or its class where it says nothing, as time-outs and lost connections do."""
    return str(error) or type(error).__name__


class TargetFailure(Exception):
    """A place where files are put down takes none; the message says why, in French.

    `is_final`: nor later, before a person has acted.
    """

    def __init__(self, message: str, *, is_final: bool = False) -> None:
        super().__init__(message)
        self.is_final = is_final
