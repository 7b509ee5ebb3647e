"""Sources of text: verse pairs, graded pairs and evaluation sets, whatever they were read from."""
