"""Files to a host and back: by content, resumed where they were cut off, whole or not at all."""
