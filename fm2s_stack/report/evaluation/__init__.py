"""A result measured against its truth, from files: what `fm2s-stack evaluate` prints."""

from fm2s_stack.report.evaluation.evaluate import Evaluation, evaluate
from fm2s_stack.report.evaluation.table import evaluation_lines, evaluation_numbers

__all__ = ["Evaluation", "evaluate", "evaluation_lines", "evaluation_numbers"]
