"""Hard negatives: found by an encoder or by shared words, and how hard those at hand are."""
