"""Settings of the leakage audit. Light to import: no FAISS, OpenCV or torch."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from ethicclip.audits.description.names import DescriptorName, parse_descriptors
from ethicclip.errors import UsageError
from ethicclip.settings import Settings

REQUIRED_KINDS: tuple[str, ...] = (
    "jpeg30",
    "flip",
    "rotation15",
    "crop70",
    "blur",
    "noise",
    "colour",
    "resize128",
    "combination",
)
"""Kinds of planted copies for which a PASS needs measured power, unless the settings say otherwise."""


class AuditSettings(Settings):
    """What decides the audit's verdict; what changes only its speed is an argument instead.

    Attributes:
        alpha: Bound on the false discovery rate of target-decoy.
        descriptor: What describes a picture, several joined with commas: ``local`` (keypoints, with a pixel check
            beside them), ``copy``, ``open_clip:MODEL[@FILE]``, ``timm:MODEL[@FILE]``, ``torchscript:FILE``, ``pixel``.
        torchscript_side: Pixels a side of what a TorchScript file is given.
        text: Whether captions, file names, metadata and burned-in writing are scanned too.
        report_column: Column of the cohorts' tables that holds each picture's report, for overlap and linkability.
        max_leak_rate: A PASS needs power against this share of copies, for every required kind.
        exchangeable: Whether the user states that control and reference are a random patient-level split of
            one pool; None when not stated, which the verdict repeats as a caveat.
        seed: Source of every random draw.
        scores: Also write ``scores.csv`` with a score for each synthetic image.
        expected_false_confirmations: Expected number of false geometric confirmations in the whole audit.
        required_kinds: Kinds of planted copies whose power gates a PASS.
        power_copies: Copies planted for each kind.
        power_repetitions: Resampled runs of the decision rule for each number of copies.
        screen_quantile: Target-decoy looks at images whose score passes this quantile of impostor scores.
        far_half_level: Confidence of the permutation interval of the far half.
        least_control_patients: A PASS needs at least this many control patients.
        most_undescribed: A PASS needs at most this share of synthetic images without describable content.
        side: Pixels across the field of view in the working frame.
        keypoints: Most keypoints a picture.
        voting_keypoints: Keypoints of a query that vote.
        candidates: Candidate pictures verified for each synthetic image.
        impostor_pictures: Real pictures used as impostor queries for the tail model.
        sheet_pairs: Pairs on the contact sheet.
    """

    alpha: float = Field(default=0.05, gt=0, lt=1)
    descriptor: str = "local"
    torchscript_side: int = Field(default=288, ge=32, le=1024)
    text: bool = True
    report_column: str | None = None
    max_leak_rate: float = Field(default=0.02, gt=0, lt=1)
    exchangeable: bool | None = None
    seed: int = Field(default=0, ge=0)
    scores: bool = False
    expected_false_confirmations: float = Field(default=0.05, gt=0, lt=1)
    required_kinds: tuple[str, ...] = REQUIRED_KINDS
    power_copies: int = Field(default=24, ge=0, le=10_000)
    power_repetitions: int = Field(default=200, ge=59, le=100_000)
    screen_quantile: float = Field(default=0.99, ge=0, lt=1)
    far_half_level: float = Field(default=0.99, gt=0.5, lt=1)
    least_control_patients: int = Field(default=30, ge=1)
    most_undescribed: float = Field(default=0.05, ge=0, le=1)
    side: int = Field(default=192, ge=128, le=2048)
    keypoints: int = Field(default=400, ge=50, le=5000)
    voting_keypoints: int = Field(default=300, ge=20, le=5000)
    candidates: int = Field(default=4, ge=2, le=1000)
    impostor_pictures: int = Field(default=400, ge=0)
    sheet_pairs: int = Field(default=12, ge=1, le=100)

    @property
    def descriptors(self) -> tuple[DescriptorName, ...]:
        """The descriptors, in the order given."""
        return parse_descriptors(self.descriptor)

    def resolved(self) -> dict[str, Any]:
        """All values as JSON types; of a descriptor's files only the names, since papers carry no path."""
        return {**super().resolved(), "descriptor": ",".join(name.public for name in self.descriptors)}

    @field_validator("descriptor")
    @classmethod
    def _descriptors_exist(cls, value: str) -> str:
        try:
            return ",".join(str(name) for name in parse_descriptors(value))
        except UsageError as error:
            raise ValueError(f"{error.what}. {error.next_step}") from None

    @model_validator(mode="after")
    def _kinds_are_distinct(self) -> Self:
        if len(set(self.required_kinds)) != len(self.required_kinds):
            raise ValueError(f"required_kinds names a kind twice: {', '.join(self.required_kinds)}")
        return self
