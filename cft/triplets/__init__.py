"""How texts become triplets of an anchor, a positive and hard negatives, stored for training."""
