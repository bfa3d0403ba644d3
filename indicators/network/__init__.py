"""How a network covers what it serves, from the traffic of production: daily rows, and figures over them."""
