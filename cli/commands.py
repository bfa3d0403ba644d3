"""How every program of commands is set up, and the one with `up` alone."""

import typer

from cli.boundary import Commands


def new_program() -> typer.Typer:
    """A program without any command yet."""
    return typer.Typer(
        cls=Commands,
        name="territoire",
        help="La plateforme du territoire connecté.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def up_alone() -> typer.Typer:
    """`up`, as among all others; it lives for months, and keeps what is imported for it."""
    from cli.up import up

    program = new_program()

    @program.callback()
    def every_command() -> None:
        """Nothing stands before the name of this one."""

    program.command()(up)
    return program
