"""Contrastive training: batches, collectives, the loss, the trainer and its process."""
