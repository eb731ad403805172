"""Templates: evaluated, executed once, one or many."""
