"""Partners' systems whose signed messages come in: alarms, or the state of work orders."""
