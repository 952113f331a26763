"""The doctor: what is wrong with a folder of pictures, told before a training meets it. It loads no torch."""

from breedclf.learning.doctor.check import check
from breedclf.learning.doctor.examination import Examination, Problem

__all__ = ["Examination", "Problem", "check"]
