"""The world of the report's tests, by hand-picked fixtures: a conftest cannot be loaded twice as a plugin."""

from tests.reports.conftest import built as built
from tests.reports.conftest import make_world as make_world
from tests.reports.conftest import world as world
