"""Where the ledger of erasures is, for those who need nothing else of it."""

LEDGER_NAME = "effacements.jsonl"
