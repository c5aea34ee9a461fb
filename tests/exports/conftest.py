"""The ledgers that the tests of the report make, for exports."""

from tests.reports.conftest import built, make_world, world

__all__ = ["built", "make_world", "world"]
