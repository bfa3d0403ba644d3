"""`python -m cli`, which ./territoire ends in."""

from cli.app import app


def main() -> None:
    """The command line; its exit status is the process's."""
    app(prog_name="./territoire")


if __name__ == "__main__":
    main()
