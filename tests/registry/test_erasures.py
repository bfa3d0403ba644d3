"""The ledger of erasures: a line for each, whole or of no effect."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from registry.erasures import UnreadableLedger, append_to_ledger, digests_of, read_ledger
from registry.keys import KeyWrap

AT = datetime(2026, 11, 25, 9, 30, tzinfo=UTC)
KEYS = KeyWrap("kek-2", bytes(16), {"kek-1": bytes(range(16))})


def test_a_line_that_a_kill_cut_off_is_of_no_effect_and_written_again(tmp_path: Path) -> None:
    file = tmp_path / "effacements.jsonl"
    one, two = digests_of(KEYS, ["asset/1/5"]), digests_of(KEYS, ["asset/2/6", "device/3/7"])
    append_to_ledger(file, one, AT)
    whole = file.read_bytes()
    append_to_ledger(file, two, AT)
    file.write_bytes(file.read_bytes()[:-9])

    assert len(list(read_ledger(file))) == 1
    append_to_ledger(file, two, AT)
    append_to_ledger(file, one, AT)  # It is there.

    assert [len(entry.digests) for entry in read_ledger(file)] == [1, 2]
    assert file.read_bytes().startswith(whole)
    file.write_bytes(b"{}\n")
    with pytest.raises(UnreadableLedger, match="ligne 1"):
        list(read_ledger(file))


def test_a_digest_is_known_under_a_former_key_and_tells_a_number_that_was_drawn_again() -> None:
    [former] = digests_of(KeyWrap("kek-1", bytes(range(16))), ["asset/1/5"])

    assert former in KEYS.fingerprints("erasure", b"asset/1/5")
    assert former not in KEYS.fingerprints("erasure", b"asset/1/6")
