"""The report: one page about a run and all its studies, in one file that needs no other."""

from spnn.evaluation.report.page import save_report

__all__ = ["save_report"]
