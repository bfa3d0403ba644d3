"""`python -m lab`, which ./territoire ends in where there is a checkout."""

from typing import TYPE_CHECKING

from cli.__main__ import answer

if TYPE_CHECKING:
    import typer


def load() -> "typer.Typer":
    """Every command of a checkout."""
    from lab.app import app

    return app


if __name__ == "__main__":
    answer(load)
