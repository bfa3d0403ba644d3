"""`territoire bench`: figures and ratios, each measured on a stack of its own."""

import typer

bench_app = typer.Typer(
    help="Mesure la plateforme sur cette machine, chacune sur une pile à elle.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
