"""What the site's file says of nodes reaches the controllers, all of it."""

from __future__ import annotations

from dataclasses import fields

from newbon_core.config import NodeSettings
from newbon_core.controllers.settings import ControlSettings


def test_every_setting_of_nodes_is_taken_over() -> None:
    site = NodeSettings(
        heartbeat_s=1.5, lost_after_s=7.0, zone_label="rack", pace_above=0.3, pace_per_s=2.0, pace_min_nodes=9
    )
    settings = ControlSettings.of(site)
    for one in fields(NodeSettings):
        assert getattr(site, one.name) != one.default, f"{one.name} is not tried"
        assert getattr(settings, one.name) == getattr(site, one.name)


def test_the_defaults_of_both_are_the_same() -> None:
    assert ControlSettings.of(NodeSettings()) == ControlSettings()
