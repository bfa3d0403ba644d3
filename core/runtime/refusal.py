"""Why a process cannot go on, where an operator can mend it: said in a line, without a stack trace."""


class Refusal(Exception):
    """The message is for engineers, `french` says the same, and what to do, to whoever sits at the terminal."""

    def __init__(self, message: str, french: str) -> None:
        super().__init__(message)
        self.french = french
