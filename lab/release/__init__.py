"""What a release is made of: the wheel, the inventory of what it brings along, and what must hold of them."""
