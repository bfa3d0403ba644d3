"""`python -m lab`, which ./territoire ends in where there is a checkout."""

from lab.app import app

if __name__ == "__main__":
    app(prog_name="./territoire")
