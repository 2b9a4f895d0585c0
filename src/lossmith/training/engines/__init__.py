"""How networks are run: one after another, or a whole population in one program."""
