"""Where a command's error ends that none of it has told: in a line of French, if an operator can mend it."""

import errno
import socket
from typing import Any

from typer.core import TyperGroup

from cli.running import fail
from core.runtime.errors import OperatorError, located_reason, sql_rejection, system_reason


class Commands(TyperGroup):
    """The commands. A mistake of ours keeps its stack trace."""

    def invoke(self, ctx: Any) -> Any:
        """Run the one that was asked for."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            french = message_of(error)
            if french is None:
                raise
            raise fail(french) from None


def message_of(error: Exception) -> str | None:
    """What an operator is told of it; None: it is a mistake of ours."""
    match error:
        case OperatorError():
            return error.french
        case OSError() if error.filename is not None:
            return located_reason(error)
        case OSError():
            return _nameless(error)
        case _:
            return sql_rejection(error)


def _nameless(error: OSError) -> str | None:
    """Of a connection, or of something that is open: the system names neither."""
    from core.runtime.waiting import network_reason

    if error.errno == errno.EPIPE:  # Who reads us has left: that is typer's.
        return None
    is_network = isinstance(error, ConnectionError | TimeoutError | socket.gaierror) or (
        error.errno is None or error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH)
    )
    return f"un serveur ne répond pas : {network_reason(error)}" if is_network else system_reason(error)
