"""Several devices learn as one: two processes, each with half of every weight, against one that has it all."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn

from microturn.model.config import tiny
from microturn.model.network import Network
from microturn.train import shards
from microturn.train.batch import Batch
from microturn.train.loop import learn
from microturn.train.muon import optimizers
from microturn.train.recipe import Recipe
from test_train import batch_of

STEPS, COMPANY = 2, 2
RECIPE = Recipe(rolled=0.0, holes=0.0)


def batch_for(rank: int, step: int) -> Batch:
    return batch_of(2 + rank + step)


def fresh() -> Network:
    torch.manual_seed(0)
    return Network(tiny(d_model=64))


def step_all(made: list[torch.optim.Optimizer]) -> None:
    for optimizer in made:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def one_of_many(rank: int, port: int, folder: str) -> None:
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(COMPANY)}
    torch.set_num_threads(1)
    device = shards.join()
    network = fresh()
    shards.shard(network, device)
    made = optimizers(network, 1e-3, 1e-3)
    for step in range(STEPS):
        learn(network, batch_for(rank, step), RECIPE, step)
        if step == 1:  # as a run that is stopped and goes on would find them
            for optimizer in made:
                shards.restore(optimizer, shards.parts(optimizer.state_dict()))
        step_all(made)
    complete = shards.weights(network)
    if rank == 0:
        torch.save(complete, Path(folder) / "weights.pt")
    dist.destroy_process_group()


def test_two_devices_learn_what_one_would_from_both_their_batches(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    spawn(one_of_many, (port, str(tmp_path)), nprocs=COMPANY)  # type: ignore[no-untyped-call]
    sharded = torch.load(tmp_path / "weights.pt", weights_only=True)

    network = fresh()
    made = optimizers(network, 1e-3, 1e-3)
    for step in range(STEPS):
        for rank in range(COMPANY):
            learn(network, batch_for(rank, step), RECIPE, step)
        for weight in network.parameters():
            if weight.grad is not None:
                weight.grad /= COMPANY
        step_all(made)
    for name, weight in network.state_dict().items():
        assert torch.allclose(weight, sharded[name], atol=2e-4), name
