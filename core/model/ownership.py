"""What a tenant is told of what another one has: this sentence, and nothing that would say whose it is."""

REGISTERED_ELSEWHERE = "déjà enregistré ailleurs, adressez-vous à l'opérateur"
