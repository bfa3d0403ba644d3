"""What a monthly report says of a commune, read by the functions that the routes of each figure call."""
