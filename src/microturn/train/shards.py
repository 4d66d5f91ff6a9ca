"""One run on several devices: `torchrun --nproc-per-node N -m microturn train CONFIG`.

Every device learns from batches of its own; weights, gradients and what the optimizers remember are kept in shards
(FSDP), one to a device, and the weights are whole only while a step needs them. The network is one unit: its parts
are small against what a step keeps of its ticks.
"""

import os
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from microturn.model.network import Network


def place() -> tuple[int, int]:
    """This process's number and how many there are, as torchrun tells them."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def join() -> torch.device:
    """This process's device, in the company of the others."""
    if place()[1] == 1:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not torch.cuda.is_available():
        dist.init_process_group("gloo")
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(device)
    dist.init_process_group("nccl", device_id=device)
    return device


def shard(network: Network, device: torch.device) -> None:
    if place()[1] > 1:
        fully_shard(network, mesh=init_device_mesh(device.type, (place()[1],)))
        register_fsdp_forward_method(network, "study")


def gather(network: Network) -> None:
    """Weights whole, for what the network does outside of a step's forward pass."""
    if isinstance(network, FSDPModule):
        network.unshard()


def whole(x: Tensor) -> Tensor:
    return x.full_tensor() if isinstance(x, DTensor) else x


def own(x: Tensor) -> Tensor:
    """This device's part of it."""
    return x.to_local() if isinstance(x, DTensor) else x


def part_of(x: Tensor, like: Tensor) -> Tensor:
    """This device's part of a whole matrix that is sharded as `like` is."""
    if isinstance(like, DTensor):
        return distribute_tensor(x, like.device_mesh, like.placements).to_local()
    return x


def as_part(x: Tensor, like: Tensor) -> Tensor:
    """This device's part → the sharded tensor, where `like` is one of the same shape."""
    if isinstance(like, DTensor) and x.shape == like.to_local().shape:
        return DTensor.from_local(
            x, like.device_mesh, like.placements, shape=like.shape, stride=like.stride(), run_check=False
        )
    return x


def parts(state: dict[str, Any]) -> dict[str, Any]:
    """An optimizer's state as this device's parts."""
    kept = {
        key: {k: own(v) if isinstance(v, Tensor) else v for k, v in slots.items()}
        for key, slots in state["state"].items()
    }
    return state | {"state": kept}


def restore(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """The other way."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    kept = {
        key: {k: as_part(v, weights[key]) if isinstance(v, Tensor) else v for k, v in slots.items()}
        for key, slots in state["state"].items()
    }
    optimizer.load_state_dict(state | {"state": kept})


def weights(network: Network) -> dict[str, Tensor]:
    """Everybody's, whole: all devices must ask."""
    return {name: whole(weight) for name, weight in network.state_dict().items()}
