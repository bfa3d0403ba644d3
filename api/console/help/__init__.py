"""Each page of the console explained, and how accessible it is."""
