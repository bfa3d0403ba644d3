"""How an error is named in logs and messages."""


def describe(error: BaseException | str) -> str:
    """What the error says, or its class where it says nothing, as time-outs and lost connections do."""
    return str(error) or type(error).__name__
