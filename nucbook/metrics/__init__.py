"""How good a segmentation is: every metric of the book, from one table of intersections and areas.

`evaluate` compares two label maps, two `Nuclei`, or one of each; `evaluate_many` averages over images
under a named policy for empty ones. The metrics one by one take an `Overlap`. `costs_of_errors` tells what
missed and false nuclei and inexact outlines cost.
"""

from nucbook.metrics.aji import aji, aji_plus, aji_qu
from nucbook.metrics.detection import DetectionReport, evaluate_detections, f1_object
from nucbook.metrics.dice import dice, ensemble_dice, iou, object_dice
from nucbook.metrics.errors import ERRORS, costs_of_errors, put_right
from nucbook.metrics.evaluate import KEYS, Report, evaluate, evaluate_many
from nucbook.metrics.overlap import InvalidPair, Overlap
from nucbook.metrics.panoptic import PanNukeReport, evaluate_pannuke, panoptic

__all__ = [
    "ERRORS",
    "KEYS",
    "DetectionReport",
    "InvalidPair",
    "Overlap",
    "PanNukeReport",
    "Report",
    "aji",
    "aji_plus",
    "aji_qu",
    "costs_of_errors",
    "dice",
    "ensemble_dice",
    "evaluate",
    "evaluate_detections",
    "evaluate_many",
    "evaluate_pannuke",
    "f1_object",
    "iou",
    "object_dice",
    "panoptic",
    "put_right",
]
