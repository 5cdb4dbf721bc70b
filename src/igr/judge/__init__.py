"""How good a result is: distances to a truth, quality, a peer."""
