"""Partners' applications: told by their broker what ChirpStack v4 would tell them, and heard (decision 0021)."""
