"""Tenants: their department and quotas; for the operator of the network, all of them."""
