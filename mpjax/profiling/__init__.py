"""What does a program cost on accelerators that are not present?"""

from mpjax.profiling.aot import DoesNotFit, choose_programs, model_flops
from mpjax.profiling.aot import report as report_costs
from mpjax.profiling.costs import Report

__all__ = ["DoesNotFit", "Report", "choose_programs", "model_flops", "report_costs"]
