"""What commands say of who runs them."""

import os

import pytest

from cli.running import actor


def test_an_account_without_a_name_is_called_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container, whose account is in no file of accounts: the audit wants to know who."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 10_001)

    assert actor() == "compte 10001 (serveur)"
