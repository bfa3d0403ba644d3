"""How full bins were and for how long, when they were emptied, and in what order to drive to them."""
