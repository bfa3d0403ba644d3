"""Events to partners' brokers and commands from there, in ChirpStack v4's messages (decision 0021)."""
