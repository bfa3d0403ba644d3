"""Who pays what of the shared network: contributors, cost items, a ledger of use, and a yearly statement."""
