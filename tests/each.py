"""Many small cases in one test: pytest takes longer for a test of its own than most of them do."""

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, cast


def each(cases: Iterable[Any]) -> Callable[[Callable[..., None]], Callable[[], None]]:
    """A test of all these cases, which goes on after one that fails and names every one that does.

    As `pytest.mark.parametrize` where there are hundreds: a tuple is a case's arguments.
    """
    listed = [_arguments(case) for case in cases]

    def decorate(check: Callable[..., None]) -> Callable[[], None]:
        @wraps(check)
        def test() -> None:
            failed: list[str] = []
            for case in listed:
                try:
                    check(*case)
                except Exception as error:  # noqa: BLE001 - Whatever it is, it is this case's.
                    failed.append(f"{', '.join(map(str, case))}\n{type(error).__name__}: {error}")
            assert listed
            assert not failed, f"{len(failed)} of {len(listed)}:\n" + "\n\n".join(failed)

        del test.__wrapped__  # Its arguments would be taken for fixtures.
        return test

    return decorate


def _arguments(case: Any) -> tuple[Any, ...]:
    return cast(tuple[Any, ...], case) if isinstance(case, tuple) else (case,)
