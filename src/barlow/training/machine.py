"""Where and how a run is made, apart from its numbers. No torch."""

from dataclasses import dataclass

from barlow.arguments import check_fields


@dataclass(frozen=True)
class Machine:
    """Nothing here may change the numbers of a run beyond rounding. The string under each field is its help."""

    devices: int | str = "auto"
    """Processes on each machine, each with a device of its own; auto: one per GPU, one without a GPU."""
    num_nodes: int = 1
    """Machines."""
    shard: bool = False
    """Divide parameters, gradients and moments over the processes (FSDP), for networks too large for one device."""
    accelerator: str = "auto"
    """auto, cpu, cuda or mps."""
    checkpoint_minutes: float = 2.0
    """Time between checkpoints: the most that a kill can lose."""
    quiet: bool = False
    """No progress on the terminal."""
    log_to: str = ""
    """Programs that are told of the run while it goes on: tensorboard, wandb, mlflow, trackio; with commas between."""

    def __post_init__(self) -> None:
        """Refuse what is no number or no word where the field is one; 2 devices are as good as "2"."""
        check_fields(self)
        object.__setattr__(self, "devices", str(self.devices))
