"""Numbers that others published and the text quotes, each with where it stands."""

_REFERENCE = (
    "published run of block A by the course that set this paper: "
    "https://github.com/arthurredfern/UT-Dallas-CS-6301-CNNs"
)

# Text and source by key. The reference: 100 ImageNet classes, short side 64, reference routine.
PUBLISHED = {
    "reference.top1": ("72.68", _REFERENCE),
    "reference.best_epoch": ("53", _REFERENCE),
    "reference.epochs": ("55", _REFERENCE),
    "reference.seconds_per_epoch": ("360", _REFERENCE),
    "reference.num_classes": ("100", _REFERENCE),
    "reference.train_images": ("127,000", _REFERENCE),
    "reference.short_side": ("64", _REFERENCE),
    "reference.val_images": ("5,000", _REFERENCE),
    "published.senet.top5_error": ("2.251", "Hu et al., arXiv:1709.01507, abstract"),
    "published.mobilenetv2.top1": ("72.0", "Sandler et al., arXiv:1801.04381, table 4"),
    "published.mobilenetv2.macs": ("300", "Sandler et al., arXiv:1801.04381, table 4"),
    "published.mobilenetv3.gain": ("3.2", "Howard et al., arXiv:1905.02244, abstract"),
    "published.regnet.speedup": ("5", "Radosavovic et al., arXiv:2003.13678, abstract"),
    "published.mnasnet.top1": ("75.2", "Tan et al., arXiv:1807.11626, abstract"),
    "published.mnasnet.milliseconds": ("78", "Tan et al., arXiv:1807.11626, abstract"),
    "published.condconv.top1": ("78.3", "Yang et al., arXiv:1904.04971, abstract"),
    "published.condconv.macs": ("413", "Yang et al., arXiv:1904.04971, abstract"),
    "published.efficientnet.top1": ("84.3", "Tan and Le, arXiv:1905.11946, abstract"),
}
