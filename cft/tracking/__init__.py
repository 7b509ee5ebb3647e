"""What a run leaves behind, and how it reaches those who watch."""
