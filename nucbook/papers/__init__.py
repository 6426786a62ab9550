"""The papers of the book, one package each, and the baselines they are compared with."""

METHODS = (  # what `nucbook train` trains on images of one's own
    "baselines.unet",
    "baselines.hovernet",
    "baselines.mean_teacher",
    "baselines.self_training",
    "weaknucleiseg",
    "ircr",
)
