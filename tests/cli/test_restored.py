"""What a restore says of the ledger of erasures that it is given."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from cli.restored import entries_beside
from registry.erasures import append_to_ledger, digests_of
from registry.keys import KeyWrap

KEYS = KeyWrap("kek-1", bytes(16))


@pytest.mark.parametrize(
    ("cut", "lines", "said"),
    [(0, 2, ""), (1, 2, "elle est entière, et lue"), (9, 1, "est coupée, et n'est pas lue")],
)
def test_a_ledger_whose_end_is_missing_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], cut: int, lines: int, said: str
) -> None:
    ledger = tmp_path / "effacements.jsonl"
    for number in (1, 2):
        append_to_ledger(ledger, digests_of(KEYS, [f"person/{number}/5"]), datetime(2026, 11, 29, tzinfo=UTC))
    octets = ledger.read_bytes()
    ledger.write_bytes(octets[: len(octets) - cut])

    entries = entries_beside(tmp_path / "sauvegarde.dump", None, None, without=False)

    output = capsys.readouterr().out
    assert len(entries) == lines
    assert said in output
    assert bool(output) == bool(said)
