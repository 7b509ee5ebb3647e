"""A result on its way from the device: the host goes on meanwhile, and so does the device."""

import numpy as np
import torch


class Fetched:
    """Begins to copy a tensor to the host, behind the work that makes it.

    ``tensor.cpu()`` would queue its copy behind all that was started since, and leave the device
    without work while the host waits for it.

    Args:
        tensor: what is wanted, perhaps not computed yet.
    """

    def __init__(self, tensor: torch.Tensor) -> None:
        self._copied: torch.cuda.Event | None = None
        self._host = tensor
        if tensor.is_cuda:
            self._host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            self._host.copy_(tensor, non_blocking=True)
            self._copied = torch.cuda.Event()
            self._copied.record()

    def array(self) -> np.ndarray:
        """The values, once they are there."""
        if self._copied is not None:
            self._copied.synchronize()
        return self._host.cpu().numpy()
