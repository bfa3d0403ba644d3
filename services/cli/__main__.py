"""`python -m services.cli`, which ./territoire ends in."""

from services.cli.app import app
from services.cli.completions import VARIABLE, prepare
from services.cli.french import speak_french


def main() -> None:
    """The command line; its exit status is the process's."""
    speak_french()
    prepare()
    app(prog_name="./territoire", complete_var=VARIABLE)


if __name__ == "__main__":
    main()
