"""Key-encryption keys come from one source, several at once, and never show in what is said of them."""

import sys
from pathlib import Path
from typing import Any

import pytest

from core.runtime.keks import Keks, read_keks

OLD, NEW = "00" * 16, "11" * 32
NOTHING: dict[str, Any] = {"kek": None, "former": None, "file": None, "command": None}


def keks(kek_id: str = "kek-2", **given: Any) -> Keks:
    return read_keks(kek_id, **{**NOTHING, **given})


def test_a_key_comes_from_the_environment_a_file_or_a_command(tmp_path: Path) -> None:
    file = tmp_path / "kek"
    file.write_text(f"kek-2={NEW}\nkek-1={OLD}\n")
    printed = f"{sys.executable} -c \"print('{NEW}')\""

    sources = [
        keks(kek=NEW, former=f"kek-1={OLD}"),
        keks(kek=f"kek-1={OLD},kek-2={NEW}"),
        keks(file=file),
        keks(command=printed, former=f"kek-1={OLD}"),
    ]

    assert sources == [Keks("kek-2", bytes.fromhex(NEW), {"kek-1": bytes.fromhex(OLD)})] * len(sources)
    assert OLD not in repr(sources[0])
    assert str(bytes.fromhex(NEW)) not in repr(sources[0])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "une seule de"),
        ({"kek": NEW, "command": "true"}, "une seule de"),
        ({"kek": NEW[:-1]}, "32, 48 ou 64 chiffres"),
        ({"kek": f"kek-1={OLD}"}, "ne donne pas la clé kek-2"),
        ({"kek": f"kek-2={NEW},kek-2={OLD}"}, "donnée deux fois"),
        ({"kek": NEW, "former": NEW}, "TERRITOIRE_KEK_FORMER"),
        ({"file": Path("/nonexistent/kek")}, "ne se lit pas"),
        ({"command": "false"}, "finit par 1"),
        ({"command": "/nonexistent/vault"}, "échoue"),
    ],
)
def test_what_is_wrong_is_said_without_any_key(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said) as wrong:
        keks(**given)

    assert NEW[:-1] not in str(wrong.value)
    assert OLD not in str(wrong.value)
