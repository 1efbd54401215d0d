"""From the command line to a checked, typed ``Config``; no other room knows OmegaConf."""
