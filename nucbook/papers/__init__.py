"""The papers of the book, one package each, and the baselines they are compared with.

METHODS names the module whose METHOD declares each method; the configuration class stands in the `config`
module beside it, so that tables and the command line read it without PyTorch.
"""

METHODS = {
    "classical": "baselines.classical",
    "unet": "baselines.unet",
    "tissue": "baselines.tissue",
    "hovernet": "baselines.hovernet",
    "maskrcnn": "baselines.maskrcnn",
    "mean_teacher": "baselines.mean_teacher",
    "self_training": "baselines.self_training",
    "weaknucleiseg": "weaknucleiseg.training",
    "whichpixel": "whichpixel.training",
    "bass": "bass.training",
    "ircr": "ircr.training",
}
