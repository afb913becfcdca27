"""Vector quantisation with a codebook partitioned by class, and straight-through gradients."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SHARED = -1  # owner of codes that every class may use


class ClassCodebook(nn.Module):
    """Codebook in which a clip uses only the codes of its class and shared ones.

    Source: van den Oord et al., arXiv 1711.00937; PIQ, arXiv 2303.12659.

    Args:
        codes: number of codes, K.
        shared: number of codes that every class may use, in addition to its own equal share of the others.
        size: length of a code.
        classes: number of classes.

    Attributes:
        weight: the codes (codes, size).
        owner: class of each code, or SHARED, (codes,).
        used: how often each code was chosen since the last `renew`, (codes,).
    """

    owner: Tensor
    used: Tensor

    def __init__(self, codes: int, shared: int, size: int, classes: int) -> None:
        super().__init__()
        own = codes - shared
        if shared < 0 or own < classes:
            raise ValueError(f"{codes} codes, {shared} of them shared, leave some of {classes} classes none of its own")
        self.weight = nn.Parameter(torch.randn(codes, size) / size**0.5)
        owner = torch.cat([torch.arange(own) * classes // own, torch.full((shared,), SHARED)])
        self.register_buffer("owner", owner, persistent=False)
        self.register_buffer("used", torch.zeros(codes, dtype=torch.long), persistent=False)

    def allowed(self, target: Tensor) -> Tensor:
        """Tell which codes clips of the classes `target` (batch,) may use, bool (batch, codes)."""
        return (self.owner == target[:, None]) | (self.owner == SHARED)

    def choose(self, features: Tensor, target: Tensor) -> Tensor:
        """Find the nearest allowed code for features (batch, size, h, w): indices (batch, h, w)."""
        flat = features.detach().flatten(2).transpose(1, 2).float()
        distance = torch.cdist(flat, self.weight.detach().expand(len(flat), -1, -1))
        distance = distance.masked_fill(~self.allowed(target)[:, None], float("inf"))
        return distance.argmin(dim=2).unflatten(1, features.shape[2:])

    def forward(self, features: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Replace features by their nearest codes.

        Args:
            features: (batch, size, h, w).
            target: classes whose partition is used, (batch,).

        Returns:
            The codes, of the same shape as the features, whose gradient is passed to the features unchanged; the
            codebook loss, whose gradient reaches only the codes; and the commitment loss, whose gradient reaches only
            the features.
        """
        index = self.choose(features, target)
        if self.training:
            self.used += torch.bincount(index.flatten(), minlength=len(self.used))
        codes = self.weight[index].movedim(-1, 1).to(features.dtype)
        codebook_loss = nn.functional.mse_loss(codes, features.detach())
        commitment_loss = nn.functional.mse_loss(features, codes.detach())
        passed = features + (codes - features).detach()
        return passed, codebook_loss, commitment_loss

    @torch.no_grad()
    def renew(self, samples: Tensor, target: Tensor, generator: torch.Generator) -> int:
        """Move codes that were not used since the last call onto random features of their class.

        A code that is far from all features is never the nearest one and would never learn.

        Args:
            samples: features (vectors, size).
            target: class of each vector, (vectors,).
            generator: random generator on the CPU.

        Returns:
            The number of codes that were moved.
        """
        moved = 0
        for code in (self.used == 0).nonzero()[:, 0].tolist():
            owner = int(self.owner[code])
            rows = torch.arange(len(target)) if owner == SHARED else (target == owner).nonzero()[:, 0]
            if len(rows) == 0:
                continue
            chosen = rows[torch.randint(len(rows), (), generator=generator)]
            self.weight[code] = samples[chosen].to(self.weight)
            moved += 1
        self.used.zero_()
        return moved
