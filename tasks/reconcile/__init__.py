"""Finding what died without a word, and mending what it left."""
