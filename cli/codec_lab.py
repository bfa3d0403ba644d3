"""`territoire codec try|publish|versions|shadow|switch|rollback|release`: the lab of the API, at a terminal."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.api_client import (
    REFUSED,
    ApiClient,
    ApiError,
    HomeOption,
    JsonOption,
    KeyOption,
    SharedOption,
    UrlOption,
    api_session,
)
from cli.running import fail, print_json
from core.runtime.errors import file_reason, system_reason

DECLARED = {".yaml", ".yml"}
FILES = {".js", ".json", *DECLARED}

SourceArgument = Annotated[
    Path, typer.Argument(help="Le décodeur : JavaScript du fabricant (.js), ou tableau (.yaml).")
]
ProfileArgument = Annotated[int, typer.Argument(help="Le profil d'appareil.")]
FormOption = Annotated[
    str | None, typer.Option(help="Point d'entrée : decodeUplink, Decoder ou Decode ; absent : le premier.")
]
MappingOption = Annotated[
    Path | None, typer.Option("--mapping", help="La correspondance, une liste JSON de règles.")
]
ForAllOption = Annotated[
    bool, typer.Option("--for-all", help="D'un profil proposé à toutes les collectivités : pour toutes.")
]


def add_lab(codec_app: typer.Typer) -> None:
    """These commands, beside those of catalogues."""
    for name, command in (
        ("try", try_codec),
        ("publish", publish),
        ("versions", versions),
        ("shadow", shadow),
        ("switch", switch),
        ("rollback", roll_back),
        ("release", release),
    ):
        codec_app.command(name)(command)


def try_codec(
    source: Annotated[
        str,
        typer.Argument(help="Un fichier .js ou .yaml, le numéro d'une version publiée, ou un décodeur natif."),
    ],
    device: Annotated[str | None, typer.Option(help="DevEUI du capteur dont relire les dernières trames.")] = None,
    last: Annotated[int, typer.Option(min=1, max=100, help="Combien de ses dernières trames.")] = 20,
    frame: Annotated[
        list[str] | None, typer.Option(help="Une trame, PORT:HEXADÉCIMAL ; peut être répété.")
    ] = None,
    form: FormOption = None,
    ask_key: Annotated[
        bool,
        typer.Option("--ask-key", help="Demander la clé du compteur, pour cet essai d'un décodeur natif."),
    ] = False,
    mapping: MappingOption = None,
    write_mapping: Annotated[
        Path | None,
        typer.Option(help="Écrire dans ce fichier la correspondance proposée, à relire et à corriger."),
    ] = None,
    api_key: KeyOption = None,
    url: UrlOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Essaie un décodeur sur des trames, sans rien enregistrer. 0 : chacune donne des mesures ; 1 : pas toutes."""
    from cli import codec_lab_report as report

    body: dict[str, Any] = {"last": last, "form": form, "dev_eui": device}
    if source.isdecimal():
        body["codec_version_id"] = int(source)
    elif Path(source).suffix.lower() in FILES or Path(source).exists():
        body |= _source(Path(source))
    else:
        body["codec"] = source
    if ask_key:
        body["decoding_key"] = typer.prompt("Clé de décodage", hide_input=True, err=True)
    body["frames"] = [_frame(text) for text in frame or []]
    if mapping is not None:
        body["mapping"] = _mapping(mapping)
    answer = _ask(api_key, url, home, lambda api: api.post("/v1/codecs/try", body))
    if write_mapping is not None:
        _write(write_mapping, answer["proposed"])
    if as_json:
        print_json(answer)
    else:
        report.show_codec_test(answer)
    raise typer.Exit(1 if answer["failed"] or answer["without_values"] or not answer["frames"] else 0)


def publish(
    source: SourceArgument,
    name: Annotated[str, typer.Option(help="Nom du décodeur, par exemple acme.niveau ; nouveau : il est créé.")],
    vendor: Annotated[str, typer.Option(help="Fabricant, d'un nouveau décodeur.")] = "",
    model: Annotated[str, typer.Option(help="Modèle, d'un nouveau décodeur.")] = "",
    note: Annotated[str, typer.Option(help="Ce qui change.")] = "",
    form: FormOption = None,
    shared: SharedOption = False,
    profile: Annotated[int | None, typer.Option(help="Le profil qui l'emploie dès maintenant.")] = None,
    mapping: MappingOption = None,
    for_all: ForAllOption = False,
    api_key: KeyOption = None,
    url: UrlOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Publie une version d'un décodeur et, avec --profile, la met en service partout en 5 secondes."""
    from cli import codec_lab_report as report

    script = _source(source)
    rules = None if mapping is None else _mapping(mapping)

    def work(api: ApiClient) -> dict[str, Any]:
        codec = _find(api, name, shared=shared) or api.post(
            "/v1/codecs", {"name": name, "vendor": vendor, "model": model, "shared": shared}
        )
        version = api.post(f"/v1/codecs/{codec['id']}/versions", script | {"form": form, "note": note})
        if profile is None:
            return {"version": version, "decoding": None}
        path = f"/v1/device-profiles/{profile}/decoding"
        kept = rules if rules is not None else api.get(path)["mapping"]
        decoding = {"codec_version_id": version["id"], "mapping": kept, "for_all": for_all}
        return {"version": version, "decoding": api.put(path, decoding)}

    answer = _ask(api_key, url, home, work)
    if as_json:
        print_json(answer)
        return
    version = answer["version"]
    state = "publiée" if version["is_new"] else "déjà publiée"
    report.print_line(f"{version['name']} v{version['version']} {state} (version {version['id']})")
    if answer["decoding"] is not None:
        report.show_decoding(answer["decoding"])


def versions(
    name: Annotated[str, typer.Argument(help="Nom du décodeur.")],
    diff: Annotated[
        tuple[int, int] | None, typer.Option(help="Comparer deux versions : l'ancienne et la nouvelle.")
    ] = None,
    api_key: KeyOption = None,
    url: UrlOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Liste les versions d'un décodeur, ou ce qui change entre deux."""
    from cli import codec_lab_report as report

    def work(api: ApiClient) -> dict[str, Any]:
        codec = _find(api, name) or _find(api, name, shared=True)
        if codec is None:
            raise ApiError(f"décodeur {name} introuvable")
        page: dict[str, Any] = api.get(f"/v1/codecs/{codec['id']}/versions", limit=1000)
        if diff is None:
            return page
        ids = {one["version"]: one["id"] for one in page["items"]}
        missing = [number for number in diff if number not in ids]
        if missing:
            raise ApiError(f"{name} n'a pas de version {missing[0]}")
        return api.get(f"/v1/codec-versions/{ids[diff[1]]}/diff", against=ids[diff[0]])

    answer = _ask(api_key, url, home, work)
    if as_json:
        print_json(answer)
    elif diff is not None:
        print(answer["diff"])
    else:
        report.show_versions(answer["items"])


def shadow(
    profile: ProfileArgument,
    version: Annotated[
        int | None,
        typer.Argument(help="La version à l'essai ; 0 : plus d'essai ; absente : le bilan."),
    ] = None,
    for_all: ForAllOption = False,
    api_key: KeyOption = None,
    url: UrlOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Met une version à l'essai à côté de celle qui sert, ou montre ce qu'elle lit autrement."""
    from cli import codec_lab_report as report

    path = f"/v1/device-profiles/{profile}/shadow"
    body = {"codec_version_id": version or None, "for_all": for_all}
    answer = _ask(api_key, url, home, lambda api: api.get(path) if version is None else api.put(path, body))
    if as_json:
        print_json(answer)
    elif version is None:
        report.show_shadow(answer)
    else:
        report.show_decoding(answer)


def switch(
    profile: ProfileArgument,
    mapping: MappingOption = None,
    for_all: ForAllOption = False,
    api_key: KeyOption = None,
    url: UrlOption = None,
    home: HomeOption = None,
) -> None:
    """Met en service la version à l'essai, partout en 5 secondes."""
    from cli import codec_lab_report as report

    body = {"mapping": None if mapping is None else _mapping(mapping), "for_all": for_all}
    report.show_decoding(
        _ask(api_key, url, home, lambda api: api.post(f"/v1/device-profiles/{profile}/switch", body))
    )


def roll_back(
    profile: ProfileArgument,
    for_all: ForAllOption = False,
    api_key: KeyOption = None,
    url: UrlOption = None,
    home: HomeOption = None,
) -> None:
    """Revient à ce qui lisait les messages avant le dernier changement ; propose de relire ceux d'entre-temps."""
    from cli import codec_lab_report as report

    body = {"for_all": for_all}
    answer = _ask(api_key, url, home, lambda api: api.post(f"/v1/device-profiles/{profile}/rollback", body))
    report.show_decoding(answer)
    report.propose_redecode(profile, answer["undone_at"])


def release(
    version: Annotated[int, typer.Argument(help="La version suspendue.")],
    api_key: KeyOption = None,
    url: UrlOption = None,
    home: HomeOption = None,
) -> None:
    """Remet en service une version suspendue pour dépassements de temps (clé de l'exploitant)."""
    from cli import codec_lab_report as report

    answer = _ask(api_key, url, home, lambda api: api.post(f"/v1/codec-versions/{version}/release", {}))
    report.print_line(
        f"{answer['name']} v{answer['version']} de nouveau en service ; relisez ses trames (redecode)"
    )


def _ask(api_key: str | None, url: str | None, home: Path | None, work: Callable[[ApiClient], Any]) -> Any:
    with api_session(api_key, url, home) as api:
        return work(api)


def _find(api: ApiClient, name: str, *, shared: bool = False) -> dict[str, Any] | None:
    return next(
        (
            codec
            for codec in api.list_all("/v1/codecs", q=name)
            if codec["name"] == name and (codec["tenant_id"] is None) == shared
        ),
        None,
    )


def _source(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as wrong:
        raise fail(f"{path} : {file_reason(wrong)}", REFUSED) from None
    return {"language": "declarative" if path.suffix.lower() in DECLARED else "javascript", "source": text}


def _mapping(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as wrong:
        raise fail(f"{path} : {file_reason(wrong)}", REFUSED) from None


def _write(path: Path, rules: Any) -> None:
    try:
        path.write_text(json.dumps(rules, ensure_ascii=False, indent=1) + "\n", "utf-8")
    except OSError as wrong:
        raise fail(f"{path} : {system_reason(wrong)}", REFUSED) from None


def _frame(text: str) -> dict[str, Any]:
    port, _, payload = text.partition(":")
    if not port.isdecimal() or not payload:
        raise fail(f"--frame {text} : attendu PORT:HEXADÉCIMAL", REFUSED)
    return {"f_port": int(port), "payload": payload.replace(" ", "")}
