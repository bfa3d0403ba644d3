"""Where a reader of the feed goes on, or why it cannot, in French."""

from api.fields import INT4_MOST, INT8_MOST
from core.runtime.http.errors import FieldError, Problem
from registry.cursors import unpacked
from registry.feed import FeedState, Position, Standing

OLDEST = "oldest"
LONGEST = 200


def position_after(cursor: str | None, tenant_id: int, state: FeedState) -> Position:
    """From where a reader goes on; without a cursor from now on.

    Raises:
        Problem: 422, it is none of ours; 409, it is of another database; 410, what follows it is kept no more.
    """
    if cursor is None:
        return state.now
    if cursor == OLDEST:
        return state.oldest
    found = unpacked(cursor, tuple[str, int, int, int, int])
    if found is None:
        raise _wrong(422, "ce curseur n'est pas le `next` d'une lecture du fil")
    epoch, of, xid, number, place = found
    if not (0 <= xid <= INT8_MOST and 0 <= number <= INT8_MOST and 0 <= place <= INT4_MOST):
        raise _wrong(422, "ce curseur n'est pas le `next` d'une lecture du fil")
    if of != tenant_id:
        raise _wrong(422, "ce curseur est celui d'une autre collectivité ; commencez sans `after`")
    position = Position(xid, number, place)
    standing = state.standing_of(epoch, position)
    if standing is Standing.RESTORED:
        raise _wrong(
            409,
            "la base a été restaurée depuis ce curseur : ce qui a été lu peut ne plus y être. Prenez un nouveau "
            "curseur (`GET /v1/measurements` sans `after`), relisez vos mesures de la période par "
            "`/v1/datastreams/{id}/measurements` ou par un export, puis reprenez avec ce curseur",
        )
    if standing is Standing.FORGOTTEN:
        raise _wrong(
            410,
            "ce curseur a plus de sept jours : ce qui le suivait n'est plus dans le fil. Prenez un nouveau "
            "curseur (`GET /v1/measurements` sans `after`), relisez la période manquée par "
            "`/v1/datastreams/{id}/measurements` ou par un export, puis reprenez avec ce curseur",
        )
    return position


def _wrong(status: int, message: str) -> Problem:
    codes = {409: "other_epoch", 410: "forgotten"}
    error = FieldError(field="query.after", code=codes.get(status, "cursor"), message=message)
    return Problem(status, message, errors=[error])
