"""What a person reads of an evaluation: markdown for the trackers, one HTML page for the eye."""

from cft.evaluation.report.markdown import duration, run_report, suite_report

__all__ = ["duration", "run_report", "suite_report"]
