"""Machines that are rented by the minute: found, launched, watched over and always given back."""
