"""`territoire frames`: the radio at this moment, one line a frame."""

import json
import sys
from datetime import datetime
from typing import Annotated, Any

import typer

from cli.api_client import HomeOption, KeyOption, UrlOption, api_session

# Each request looks for so long.
LOOK_S = 2.0
KINDS = {
    "data_up": "↑ données",
    "join_request": "↑ jonction",
    "other_up": "↑ autre",
    "downlink": "↓ données",
    "join_accept": "↓ jonction",
}
RECEPTIONS_SHOWN = 3


def frames(
    device: Annotated[str | None, typer.Option("--device", help="DevEUI du capteur : lui seul.")] = None,
    gateway: Annotated[str | None, typer.Option("--gateway", help="EUI de la passerelle : elle seule.")] = None,
    exit_after: Annotated[
        float | None, typer.Option("--exit-after", min=1, help="S'arrête de lui-même après ce nombre de secondes.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Une trame par ligne, pour un programme.")] = False,
    api_key: KeyOption = None,
    url: UrlOption = None,
    home: HomeOption = None,
) -> None:
    """Ce que les passerelles entendent en ce moment, et ce que le réseau en décide. Ctrl-C arrête. 2 : refusé.

    Un échantillon d'une vingtaine de trames par seconde. Rien n'est gardé, et rien
    n'est publié quand personne ne regarde. D'un capteur d'une autre collectivité,
    rien n'est montré qui le nomme.
    """
    left_s = exit_after
    with api_session(api_key, url, home) as api:
        while left_s is None or left_s > 0:
            seconds = LOOK_S if left_s is None else min(LOOK_S, left_s)
            query = {"seconds": seconds, "dev_eui": device, "gateway_id": gateway}
            try:
                shown = api.get("/v1/live-frames", **{name: one for name, one in query.items() if one is not None})
            except KeyboardInterrupt:
                return
            for frame in shown["items"]:
                sys.stdout.write((json.dumps(frame, ensure_ascii=False) if as_json else line_of(frame)) + "\n")
            if shown["left_out"]:
                sys.stderr.write(f"{shown['left_out']} trames non montrées\n")
            sys.stdout.flush()
            left_s = None if left_s is None else left_s - seconds


def line_of(frame: dict[str, Any]) -> str:
    """One frame for people."""
    at = datetime.fromisoformat(frame["at"]).astimezone()
    who = "(capteur d'un autre)" if frame["hidden"] else frame["dev_eui"] or frame["dev_addr"] or "(inconnu)"
    counter = "" if frame["f_cnt"] is None else f" FCnt {frame['f_cnt']}"
    port = "" if frame["f_port"] is None else f" port {frame['f_port']}"
    radio = f" {frame['frequency'] / 1e6:.1f} MHz SF{frame['spreading_factor']}" if frame["frequency"] else ""
    receptions = frame["receptions"]
    received = ", ".join(
        f"{one['gateway_id']} {one['rssi']:.0f} dBm {one['snr']:+.1f} dB" for one in receptions[:RECEPTIONS_SHOWN]
    )
    more = f" et {len(receptions) - RECEPTIONS_SHOWN} autres" if len(receptions) > RECEPTIONS_SHOWN else ""
    kind = KINDS.get(frame["kind"], frame["kind"])
    return (
        f"{at:%H:%M:%S}.{at.microsecond // 100_000} {kind:<11} {frame['outcome']:<16} {who}{counter}{port}"
        f"{radio} {frame['octets']} octets · {received}{more}"
    )
