"""The doctor: what is wrong with a folder of pictures, told before a training meets it. It loads no torch."""

from breedclf.data_check.check import check
from breedclf.data_check.result import DatasetCheck, Problem

__all__ = ["DatasetCheck", "Problem", "check"]
