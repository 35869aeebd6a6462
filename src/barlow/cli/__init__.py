"""The command `barlow`: flags and calls."""

from barlow.cli.commands import main as main
