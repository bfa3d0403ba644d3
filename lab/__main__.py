"""`python -m lab`, which ./territoire ends in where there is a checkout."""

from cli.__main__ import run
from lab.app import app

if __name__ == "__main__":
    run(app)
