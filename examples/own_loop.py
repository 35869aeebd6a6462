"""A loop of your own around our losses, views and sources: plain PyTorch, no run folder.

On two processes the loss is that of the whole batch without another word:
torchrun --nproc-per-node 2 examples/own_loop.py
"""

import os

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import barlow

EPOCHS, BATCH = 2, 128


def network() -> nn.Module:
    layers = [nn.Conv2d(1, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 128))


def main() -> float:
    several = "RANK" in os.environ  # torchrun sets it
    if several:
        dist.init_process_group("gloo")
    rank, world = (dist.get_rank(), dist.get_world_size()) if several else (0, 1)
    source = barlow.load_source("digits")
    views = barlow.image_views("small-grey", size=8, channels=1)
    torch.manual_seed(0)  # the same weights everywhere
    model: nn.Module = DistributedDataParallel(network()) if several else network()
    loss = barlow.BarlowTwinsLoss(redundancy_weight=0.02)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    random = torch.Generator().manual_seed(rank)  # other augmentations in every process
    for epoch in range(EPOCHS):
        order = torch.randperm(len(source), generator=torch.Generator().manual_seed(epoch)).tolist()
        own = order[rank : len(order) - len(order) % world : world]
        for batch in source.batches(own, BATCH // world):
            view_a, view_b = views.draw(batch.samples, random)
            terms = loss(model(view_a), model(view_b))
            optimizer.zero_grad()
            terms.backward()
            optimizer.step()
        if rank == 0:
            print(f"epoch {epoch}: {terms}")
    if several:
        dist.destroy_process_group()
    return float(terms)


if __name__ == "__main__":
    main()
