"""What a training of lip-forcing-mini does, stage by stage."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from lipsync_cli.core.errors import UsageError
from lipsync_cli.engines.mini.config import MiniConfig
from lipsync_cli.training.common.recipes import Share, TrainingRecipe, Weight
from lipsync_cli.training.dataset.audio_augment import AudioAugmentRecipe
from lipsync_cli.training.mini.adversarial import AdversarialRecipe
from lipsync_cli.training.mini.autoencoder import AutoencoderRecipe
from lipsync_cli.training.mini.causal import CausalRecipe
from lipsync_cli.training.mini.phones import PhonesRecipe
from lipsync_cli.training.mini.points import PointsRecipe
from lipsync_cli.training.mini.state_sync import StateSyncRecipe
from lipsync_cli.training.mini.student import StudentRecipe
from lipsync_cli.training.mini.teacher import TeacherRecipe

JOINT_PHASES = (
    AutoencoderRecipe(crop_size=96, steps=900, learning_rate=8e-4, warmup=50),
    AutoencoderRecipe(crop_size=128, steps=600, learning_rate=6e-4, warmup=50),
)


class MiniRecipe(TrainingRecipe):
    """Every stage of lip-forcing-mini in order; ``student`` unset ships the causal network itself.

    Without phases of ``autoencoder`` encoder and renderer are those of the model that the run starts from, and
    there is no ``points`` stage; without ``phones`` the flow is that model's too, and ``learnt`` is how far the
    weights move from the model's towards the fine-tuned ones (Wortsman et al. 2022: the interpolation keeps what
    fine-tuning alone forgets). Where a run starts from nothing, ``phones`` unset leaves that stage out.
    ``audio_augment`` makes variants of the clips' sound for the stages that learn speech; unset, only loudness, tilt,
    vocal tract length and noise floor change. ``mirrored`` adds every clip flipped from left to right to them.
    ``temperature`` goes into the card beside the schedule, and so does ``detail`` where the pictures are new: the
    strength of the sharpening of rendered crops. ``open_only`` trains on the clearly licensed clips alone.
    """

    training: ClassVar[str] = "mini"

    autoencoder: tuple[AutoencoderRecipe, ...] = JOINT_PHASES
    points: PointsRecipe = PointsRecipe()
    adversarial: AdversarialRecipe | None = None
    phones: PhonesRecipe | None = None
    sync: StateSyncRecipe = StateSyncRecipe()
    teacher: TeacherRecipe = TeacherRecipe()
    causal: CausalRecipe = CausalRecipe()
    student: StudentRecipe | None = None
    audio_augment: AudioAugmentRecipe | None = None
    mirrored: bool = False
    learnt: Share = 1.0
    temperature: Annotated[tuple[Weight, ...], Field(min_length=1)] = (1.0, 1.0)
    detail: Share = 0.0
    open_only: bool = False

    def schedule(self) -> tuple[float, ...]:
        """Times of the denoising steps that the shipped network was trained for."""
        return self.causal.schedule if self.student is None else self.student.schedule

    def batches(self) -> dict[str, int]:
        """What a step of each stage draws, by its name in the recipe; several processes share it."""
        sizes = {f"autoencoder[{i}].sequences": phase.sequences for i, phase in enumerate(self.autoencoder)}
        if self.autoencoder:
            sizes["points.clips"] = self.points.clips
        sizes |= {"sync.batch": self.sync.batch}
        sizes |= {"teacher.batch": self.teacher.batch, "causal.batch": self.causal.batch}
        if self.adversarial is not None:
            sizes["adversarial.sequences"] = self.adversarial.sequences
        if self.phones is not None:
            sizes["phones.batch"] = self.phones.batch
        if self.student is not None:
            sizes["student.batch"] = self.student.batch
        return sizes

    def config(self, start: MiniConfig | None = None) -> MiniConfig:
        """Hyper-parameters of the model that is made, at the crop size of the last stage of the renderer.

        What no stage decides is as in ``start``, the model that the run starts from. UsageError where encoder and
        renderer would come from nowhere.
        """
        if not self.autoencoder and start is None:
            raise UsageError(
                "This recipe trains no encoder and no renderer, so it needs a model to start from.",
                hint="Name one: --start lip-forcing-mini.",
            )
        table = {} if start is None else start.model_dump()
        if self.autoencoder:
            table |= {"crop_size": self.autoencoder[-1].crop_size, "network_size": 0}
            table |= {"latent": self.autoencoder[0].latent, "sharpen": self.detail}
        if self.adversarial is not None:
            table |= {"crop_size": self.adversarial.crop_size, "network_size": self.adversarial.network_size}
        return MiniConfig.model_validate(table | {"schedule": self.schedule(), "temperature": self.temperature})
