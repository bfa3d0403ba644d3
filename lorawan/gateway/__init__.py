"""Wire formats between gateways and a server, without sockets: octets in, values out, and back."""
