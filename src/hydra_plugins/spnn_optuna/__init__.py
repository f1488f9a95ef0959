"""Hydra's plugin for Optuna. Hydra imports all plugins at each start, so Optuna itself is imported when it is used."""
