"""Options that several benchmarks have: the command, and what it runs on a stack of its own."""

from pathlib import Path
from typing import Annotated

import typer

SecondsOption = Annotated[float, typer.Option(min=2, help="Durée de la mesure.")]
DevicesOption = Annotated[int, typer.Option(min=1, help="Nombre d'équipements.")]
GatewaysOption = Annotated[int, typer.Option(min=1, help="Nombre de passerelles.")]
CopiesOption = Annotated[float, typer.Option(min=1, help="Passerelles qui entendent une trame, en moyenne.")]
RunsOption = Annotated[int, typer.Option(min=1, help="Mesures successives, dont les médianes sont données.")]
PacedOption = Annotated[bool, typer.Option("--paced", help="Seulement à 2 000 trames/s.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Un objet JSON sur la sortie standard.")]
RunningStackOption = Annotated[Path, typer.Option("--home", help="Dossier de la pile qui tourne.")]
CheckOption = Annotated[bool, typer.Option("--check", help="Échoue quand un objectif est manqué.")]
ExplainOption = Annotated[bool, typer.Option("--explain", help="Montre aussi les plans d'exécution.")]
FramesOption = Annotated[
    int, typer.Option("--frames", min=1_000, help="Trames enregistrées, une par heure et par capteur.")
]
