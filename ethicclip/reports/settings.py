"""Settings of the report; light to import."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ethicclip.settings import Settings

Audience = Literal["shareable", "restricted"]

ATTACKER = (
    "Someone who holds the released images and captions, knows how the generator works, and holds photographs of "
    "some patients (or asks about one), and who tries to find out whose eyes are in the set. They do not hold the "
    "reference photographs as a whole, nor this project's keys."
)


class ReportSettings(Settings):
    """What the report says beyond the ledger, and for whom it is written.

    Attributes:
        title: On the first page.
        audience: ``shareable`` shows no real pixel, no flagged image, no real file's name; ``restricted`` shows them.
        formats: What to write beside the manifest; JSON is always written, since the others are made from it.
        subject: The released set: path, alias or hash of an artifact; None takes the set that the latest model was
            trained on, else the latest that was generated, else the latest that was audited.
        released_to: To whom the set goes; for a person to state.
        purpose: What for; for a person to state.
        attacker: The attacker that the audit assumes.
        review_months: Months after the latest audit by which to look again.
        pictures: Most pictures of the set to show.
    """

    title: str = Field(default="Evidence on a synthetic fundus set", min_length=1, max_length=300)
    audience: Audience = "shareable"
    formats: tuple[Literal["html", "json", "pdf"], ...] = ("html", "json", "pdf")
    subject: str | None = None
    released_to: str | None = None
    purpose: str | None = None
    attacker: str = ATTACKER
    review_months: int = Field(default=12, ge=1, le=60)
    pictures: int = Field(default=12, ge=0, le=48)
