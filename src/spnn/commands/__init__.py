"""The commands: ``spnn train``, ``sample``, ``evaluate``, ``runs`` and ``doctor``."""
