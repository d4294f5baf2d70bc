"""``GET /v1/plugins`` lists every plugin that was found, whatever became of it."""

from __future__ import annotations

from typing import Any

from api_builders import Api

from newbon_core.hooks import loader
from newbon_core.hooks.host import PluginHost
from newbon_core.hooks.settings import PluginSettings


def test_a_name_that_two_distributions_claim_is_listed_twice(api: Api) -> None:
    found = [
        loader.Found(name=name, distribution=distribution, finding="failed", reason="claimed twice")
        for name, distribution in (("x", "one"), ("x", "two"), ("a", "three"))
    ]
    api.context.host = PluginHost(found, PluginSettings(order=("x",)))
    listed: Any = api.get("/v1/plugins").json
    assert [(item["name"], item["distribution"]) for item in listed["items"]] == [
        ("x", "one"),
        ("x", "two"),
        ("a", "three"),
    ]
