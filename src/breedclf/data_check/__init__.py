"""The dataset check: finds what is wrong with an image folder before training. It loads no torch."""

from breedclf.data_check.check import check
from breedclf.data_check.result import DatasetCheck, Problem

__all__ = ["DatasetCheck", "Problem", "check"]
