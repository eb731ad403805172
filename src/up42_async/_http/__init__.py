"""How UP42 is asked: one call from its slot in the client to its decoded answer."""
