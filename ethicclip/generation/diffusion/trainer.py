"""One step of fitting after another: this process' share of a batch, the gradient of all, the average, checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ethicclip.checkpoints import (
    Checkpoint,
    list_checkpoints,
    read_checkpoint,
    restore_training_state,
    training_state,
    write_checkpoint,
)
from ethicclip.generation.diffusion.averaging import Average
from ethicclip.generation.diffusion.latent import Autoencoder, LatentShelf
from ethicclip.generation.diffusion.loading import quiet
from ethicclip.generation.diffusion.network import build_network, build_schedule, denoising_losses
from ethicclip.generation.diffusion.pictures import Shelf, draw_step
from ethicclip.generation.diffusion.settings import FitSettings
from ethicclip.generation.diffusion.starting import Start
from ethicclip.processes import Processes

_LONGEST_GRADIENT = 1.0


class Trainer:
    """Network, optimizer, average and step counter.

    Args:
        settings: Shape of the network and schedule of learning.
        device: Where to compute.
        autoencoder: In whose space, None for pixels.
        side: Of what the network denoises.
        share: This process' part of every batch.
        processes: Who shares.
        start: The generator whose weights are the first ones; fresh ones without.
    """

    def __init__(
        self,
        settings: FitSettings,
        device: torch.device,
        autoencoder: Autoencoder | None,
        side: int,
        share: slice,
        processes: Processes,
        start: Start | None = None,
    ) -> None:
        half = settings.precision == "bf16" or (
            settings.precision == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported()
        )
        self._settings, self._autoencoder = settings, autoencoder
        self._share, self._processes = share, processes
        self._precision = torch.autocast(device.type, dtype=torch.bfloat16, enabled=half)
        self.device = device
        self.schedule = build_schedule()
        channels = 3 if autoencoder is None else autoencoder.channels
        network = build_network(settings, settings.seed, channels=channels, side=side)
        if start is not None:
            start.load(network)
        self.network: Any = network.to(device, memory_format=torch.channels_last)
        self._optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=settings.learning_rate, weight_decay=1e-4, betas=(0.9, 0.99)
        )
        self._average = Average(self.network, settings.ema_decay)
        self.step = 0

    def advance(self, shelf: Shelf | LatentShelf) -> float:
        """One step, of which this process computes its share; the loss of the whole batch."""
        settings, device = self._settings, self.device
        draw = draw_step(
            settings.seed,
            self.step,
            pictures=len(shelf.known),
            batch=settings.batch_size,
            times=self.schedule.config.num_train_timesteps,
            flip=settings.flip,
            drop=settings.drop,
        )
        mine = self._share
        pictures, conditions = shelf.tensors(draw.rows[mine], draw.flips[mine])
        conditions[torch.tensor(draw.dropped[mine])] = 0.0
        generator = torch.Generator().manual_seed(draw.noise_seed)
        noise = torch.randn(settings.batch_size, *pictures.shape[1:], generator=generator)[mine]
        self._warm_up()
        self.network.train()
        with self._precision:
            losses = denoising_losses(
                self.network,
                self.schedule,
                pictures.to(device, memory_format=torch.channels_last),
                conditions.to(device),
                torch.tensor(draw.times[mine], device=device),
                noise.to(device, memory_format=torch.channels_last),
                settings.snr_gamma,
            )
            loss = losses.sum() / settings.batch_size
        loss.backward()  # type: ignore[no-untyped-call]
        self._processes.sum_gradients(list(self.network.parameters()))
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), _LONGEST_GRADIENT)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self._average.update(self.step)
        return self._processes.total(float(loss.detach()), device)

    def apply(self, gradients: list[Tensor]) -> None:
        """One step of the optimizer with gradients from elsewhere, one a parameter that requires one."""
        self._warm_up()
        trained = [one for one in self.network.parameters() if one.requires_grad]
        for parameter, gradient in zip(trained, gradients, strict=True):
            parameter.grad = gradient.to(parameter.dtype)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self._average.update(self.step)

    def _warm_up(self) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = self._settings.learning_rate * min(1.0, (self.step + 1) / self._settings.warmup)

    def averaged(self) -> Any:
        """The network with its averaged weights while the block runs."""
        return self._average.applied()

    def keep(self, folder: Path) -> None:
        """Write a checkpoint."""
        tensors: dict[str, Tensor] = training_state(self.network, self._optimizer)
        tensors |= {f"average/{name}": value for name, value in self._average.state().items()}
        write_checkpoint(folder, Checkpoint(step=self.step, scalars={}, tensors=tensors))

    def restore(self, folder: Path) -> int:
        """Go on from the last checkpoint, if there is one; the step it was written at."""
        found = list_checkpoints(folder)
        if not found:
            return 0
        checkpoint = read_checkpoint(found[-1])
        average = {
            name.removeprefix("average/"): value
            for name, value in checkpoint.tensors.items()
            if name.startswith("average/")
        }
        rest = {name: value for name, value in checkpoint.tensors.items() if not name.startswith("average/")}
        restore_training_state(self.network, self._optimizer, rest)
        self._average.load(average)
        self.step = checkpoint.step
        return self.step

    def save(self, out: Path) -> None:
        """Write the pipeline with averaged weights, and with its autoencoder where it has one."""
        from diffusers import DDPMPipeline, LDMPipeline  # noqa: PLC0415

        with self.averaged() as network, quiet():
            pipeline = (
                DDPMPipeline(unet=network, scheduler=self.schedule)
                if self._autoencoder is None
                else LDMPipeline(vqvae=self._autoencoder.model, unet=network, scheduler=self.schedule)
            )
            pipeline.save_pretrained(out, safe_serialization=True)
