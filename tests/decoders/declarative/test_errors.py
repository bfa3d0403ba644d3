"""What is wrong in a declaration is said in French, with its line and its place."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decoders.declarative import InvalidDeclaration, parse

SOUND = """\
codec: sonde
order: big
frames:
  - name: mesure
    when: {f_port: 1, octets: {0: 1}}
    fields:
      - {type: u8, name: version, equals: 1}
      - {type: u16, name: hauteur, quantity: distance, unit: cm, scale: 0.1}
      - type: u8
        bits:
          - {bits: 0, quantity: open, channel: "porte_{version}"}
          - {bits: 4-7, name: compteur}
      - when: {compteur: 1-9}
        fields:
          - {type: i16, quantity: temperature, values: {0: 1.5, 1: 2}}
      - repeat:
          name: heures
          count: rest
          time: {step: -1 h, first: 0}
          fields:
            - {type: u16, name: volume, quantity: water_volume, subtracts_from: hauteur}
commands:
  regler:
    f_port: 10
    fields:
      - {type: u8, equals: 3}
      - {type: u16, name: duree, minimum: 1}
      - {type: u8, name: mode, values: {0: jour, 1: nuit}, default: jour}
examples:
  - payload: 01 00F0 11 0001
    readings: {distance: 240, open/porte_1: 1, temperature: 2}
    data: {compteur: 1}
  - {command: regler, with: {duree: 2}, payload: "03000200"}
"""


def test_accepts_the_sound_one() -> None:
    assert parse(SOUND).name == "sonde"


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("codec: sonde", "codec: Ma sonde", r"ligne 1, codec : un nom de décodeur a des minuscules"),
        ("codec: sonde\n", "", r"ligne 1 : une déclaration a « codec »"),
        ("order: big", "order: gros", r"ligne 2, order : « gros » est inconnu \(attendu : big, little\)"),
        ("order: big", "codec: autre", r"ligne 2, codec : « codec » est écrit deux fois"),
        ("frames:\n", "trames:\n", r"ligne 3, trames : « trames » est inconnu ; vouliez-vous dire « frames »"),
        ("f_port: 1,", "f_port: un,", r"ligne 5, frames\[0\].when.f_port : un entier, un intervalle"),
        ("f_port: 1,", "f_port: 9-1,", r"ligne 5, frames\[0\].when.f_port : l'intervalle va du plus petit"),
        ("octets: {0:", "octets: {-1:", r"ligne 5, .*octets.-1 : un entier de 0 à 511"),
        ("type: u16, name: h", "type: u17, name: h", r"ligne 8, frames\[0\].fields\[1\].type : le type « u17 »"),
        ("type: u16, name: h", "name: h", r"ligne 8, frames\[0\].fields\[1\] : un élément commence par"),
        ("quantity: distance", "quantity: distanse", r"ligne 8, .*quantity : « distanse » .* « distance » \?"),
        ("unit: cm", "unit: kg", r"ligne 8, .*unit : distance est en mm ; unités possibles : .*cm"),
        ("scale: 0.1", "scale: peu", r"ligne 8, .*scale : un nombre est attendu .* pas « peu »"),
        ("scale: 0.1", "scale: 0", r"ligne 8, .*scale : « scale » n'est pas zéro"),
        ("scale: 0.1", "scale: 1/0", r"ligne 8, .*scale : un nombre est attendu"),
        ("scale: 0.1", "scale: 1e999", r"ligne 8, .*scale : un nombre est attendu"),
        ("name: hauteur", "name: été", r"ligne 8, .*name : un nom a des lettres sans accent"),
        ("name: hauteur", "name: version", r"ligne 8, .*fields\[1\] : le nom « version » est déjà pris"),
        ("bits: 4-7", "bits: 4-8", r"ligne 12, .*bits\[1\].bits : un bit ou un intervalle .* de 0 à 7"),
        ("type: u8\n", "type: f32\n", r"ligne 11, .*bits : « bits » demande un type entier"),
        ("type: u8\n", "type: u8\n        scale: 2\n", r"ligne 10, .*scale : .* de chaque groupe de bits"),
        ("porte_{version}", "porte_{autre}", r"ligne 11, .*channel : « {autre} » n'est ni"),
        ("porte_{version}", "porte_{", r"ligne 11, .*channel : accolades mal fermées"),
        ("compteur: 1-9", "autre: 1-9", r"ligne 13, .*when.autre : « autre » n'est pas un nombre nommé"),
        ("values: {0: 1.5, 1: 2}", "values: {}", r"ligne 15, .*values : la table est vide"),
        ("values: {0: 1.5, 1: 2}", "values: {1: 1, 0x1: 2}", r"ligne 15, .* : 1 est écrit deux fois"),
        ("values: {0: 1.5, 1: 2}", "values: {0-3: 1, 2: 2}", r"ligne 15, .* : 2 est écrit deux fois"),
        ("values: {0: 1.5, 1: 2}", "values: {0-256: 1}", r"ligne 15, .* : un intervalle a 256 valeurs au plus"),
        ("{type: u8, equals: 3}", "{warning: gel}", r"ligne 26, .* : une commande n'a pas d'avertissement"),
        ("    data: {compteur: 1}", "    warnings: [gel]", r"ligne 32, .*warnings : décodé : aucun avertissement"),
        ("count: rest", "count: 0", r"ligne 18, .*repeat.count : un entier de 1 à 512"),
        ("count: rest", "count: combien", r"ligne 18, .*repeat.count : « combien » n'est pas un nombre"),
        ("count: rest", "count: hauteur", r"ligne 18, .*repeat.count : « hauteur » doit être un entier"),
        ("step: -1 h", "step: une heure", r"ligne 19, .*time.step : une durée est attendue"),
        ("step: -1 h", "step: 400 d", r"ligne 19, .*time.step : une durée .* d'un an au plus"),
        ("first: 0", "first: 0, last: 0", r"ligne 19, .*time : « time » a « step »"),
        ("{type: u16, name: volume", "{at: 3, type: u16, name: volume", r"ligne 21, .*at : « at » compte"),
        ("subtracts_from: hauteur", "subtracts_from: x", r"ligne 21, .*subtracts_from : « x » n'est pas"),
        ("f_port: 10", "f_port: 224", r"ligne 24, commands.regler.f_port : un entier de 1 à 223"),
        ("equals: 3}", "minimum: 3}", r"ligne 26, .*fields\[0\] : un champ de commande a « name »"),
        ("minimum: 1}", "minimum: 1, quantity: co2}", r"ligne 27, .*quantity : « quantity » est inconnu"),
        ("default: jour", "default: soir", r"ligne 28, .*default : « soir » n'est pas dans « values »"),
        ("distance: 240", "distance: 241", r"ligne 31, examples\[0\].readings.distance : « 241 » attendu, .* 240"),
        ("distance: 240, ", "", r"ligne 31, examples\[0\].readings : l'exemple donne aussi distance"),
        ("{compteur: 1}", "{compteur: 2}", r"ligne 32, examples\[0\].data.compteur : 2 attendu, décodé : 1"),
        ("payload: 01 00F0 11 0001", "payload: 02 00F0", r"ligne 30, .*payload : cet exemple ne se décode pas"),
        ("payload: 01 00F0 11 0001", "payload: abc", r"ligne 30, .*payload : des octets en hexadécimal"),
        ("{duree: 2}", "{duree: 0}", r"ligne 33, .*command : cette commande est refusée : .*va de 1"),
        ('"03000200"', '"03000201"', r"ligne 33, .*payload : la commande donne 03000200"),
        ("order: big", "order: &a big", r"ligne 2 : les ancres"),
        ("order: big", "order: !!str big", r"ligne 2 : les ancres"),
        (
            "{type: u8, name: version",
            "{type: u8, name: [version",
            r"ligne \d+ : ce n'est pas du YAML, à la colonne",
        ),
        ("order: big", "order: \x07", r"ligne 1 : un caractère de ce texte"),
    ],
)
def test_names_line_place_and_reason(before: str, after: str, message: str) -> None:
    assert before in SOUND

    with pytest.raises(InvalidDeclaration, match=f"^{message}"):
        parse(SOUND.replace(before, after, 1))


UNBOUNDED = """
codec: a
frames:
  - fields:
    - {type: u8, name: b}
    - repeat: {name: c, count: rest, fields: [{when: {b: 1}, fields: [{skip: 1}]}]}
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "ligne 1 : la déclaration est vide"),
        ("- 1", "ligne 1 : une suite « nom: valeur » est attendue, pas une liste"),
        ("codec: a\nframes: [" + 30 * "[" + 30 * "]" + "]", "ligne 2 : plus de 24 niveaux"),
        ("codec: " + 30 * "[", "ligne 1 : plus de 24 niveaux"),
        ("codec: " + 40_000 * "[", "ligne 1 : (plus de 24 niveaux|ce n'est pas du YAML)"),
        ("codec: a\ud800", "ligne 1 : un caractère de ce texte n'est pas permis"),
        ("codec: " + 70_000 * "a", "ligne 1 : une déclaration a 65536 caractères au plus"),
        ("codec: a\nframes: [" + 5_000 * "1," + "]", "ligne 2 : la déclaration est trop grande"),
        ("? [a]\n: b", "un nom est attendu avant les deux-points"),
        ("codec: a\nframes:\n  - fields: []", r"ligne 3, frames\[0\].fields : la liste est vide"),
        ("codec: a\nframes:\n  - name: b", r"ligne 3, frames\[0\] : une trame a « fields »"),
        (
            "codec: a\nframes:\n  - fields:\n    - {tlv: {tag: u8, records: {1: [{skip: 1}]}}}\n    - {skip: 1}",
            r"ligne 5, frames\[0\].fields\[1\] : « tlv » va jusqu'au bout",
        ),
        (
            "codec: a\nframes:\n  - fields:\n    - {tlv: {tag: u8, unknown: skip, records: {1: [{skip: 1}]}}}",
            "ligne 4, .*unknown : sans « length »",
        ),
        (
            UNBOUNDED,
            "ligne 6, .*fields : un élément répété a au moins un octet sans condition",
        ),
    ],
)
def test_rejects_what_is_no_declaration(text: str, message: str) -> None:
    with pytest.raises(InvalidDeclaration, match=message):
        parse(text)


TAMPERED = st.builds(
    lambda added, at, lost: SOUND[:at] + added + SOUND[at + lost :],
    st.text(max_size=60),
    st.integers(0, len(SOUND)),
    st.integers(0, 40),
)
SHUFFLED = st.lists(st.sampled_from(SOUND.split()), max_size=40).map(" ".join)


@given(TAMPERED | SHUFFLED | st.text(max_size=200))
def test_any_text_raises_only_invalid_declaration(text: str) -> None:
    try:
        parse(text)
    except InvalidDeclaration:
        return


def test_brackets_without_end_are_rejected_at_once() -> None:
    """The time of a scanner that remembers each of them is that of their square."""
    began = time.thread_time()

    with pytest.raises(InvalidDeclaration):
        parse("codec: a\nframes: " + 60_000 * "[")

    assert time.thread_time() - began < 0.05
