"""The bulk importer: from a file of lines to cabinets, circuits, light points and devices, in the background."""
