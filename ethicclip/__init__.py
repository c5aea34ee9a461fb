"""EthicCLIP: synthetic fundus image-text pairs, audited for leakage, with the evidence of it."""

__version__ = "0.1.0"
