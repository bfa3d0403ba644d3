"""`python -m lab`, which ./territoire ends in where there is a checkout."""

from cli.__main__ import answer

if __name__ == "__main__":
    answer("lab.app")
