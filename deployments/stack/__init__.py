"""The servers and workers of one person's machine, as processes that one supervisor looks after."""
