"""Aggregates of the literature, printed beside the verdict for comparison and never gated on."""

from ethicclip.audits.aggregates.running import Side, all_aggregates
from ethicclip.audits.aggregates.value import Aggregate

__all__ = ["Aggregate", "Side", "all_aggregates"]
