"""Pushes to a phone: composed from plain data, kept on disk until they are sent, each sent once."""

from tasks.notify.delivery import flush_outbox, push
from tasks.notify.message import Action, Push

__all__ = ["Action", "Push", "flush_outbox", "push"]
