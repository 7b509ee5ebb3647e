"""Suites: what an encoder is asked, and the arrays and figures that its answers give."""
