"""Needs something that is not installed."""

import a_distribution_that_nobody_wrote  # noqa: F401 - that is what is wrong
