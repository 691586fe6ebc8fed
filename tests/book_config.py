"""The book's configuration, and the profile that the committed paper shows."""

import yaml
from machine_places import ROOT

CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
SHOWN_PROFILE = CONFIG["sphinx"]["config"]["paper_profile"]
