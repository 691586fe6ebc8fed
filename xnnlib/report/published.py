"""Numbers that others published and the text quotes, each with where it stands."""

_COURSE = (
    "published run of block A by the course that set this paper: "
    "https://github.com/arthurredfern/UT-Dallas-CS-6301-CNNs"
)

# Value and source by key. The reference: 100 ImageNet classes, short side 64, reference routine.
PUBLISHED = {
    "reference.top1": (72.68, _COURSE),
    "reference.best_epoch": (53, _COURSE),
    "reference.epochs": (55, _COURSE),
    "reference.seconds_per_epoch": (360, _COURSE),
    "reference.num_classes": (100, _COURSE),
    "reference.train_images": (127_000, _COURSE),
    "reference.short_side": (64, _COURSE),
    "reference.val_images": (5_000, _COURSE),
    "published.senet.top5_error": (2.251, "Hu et al., arXiv:1709.01507, abstract"),
    "published.mobilenetv3.gain": (3.2, "Howard et al., arXiv:1905.02244, abstract"),
    "published.regnet.speedup": (5, "Radosavovic et al., arXiv:2003.13678, abstract"),
    "published.mnasnet.milliseconds": (78, "Tan et al., arXiv:1807.11626, abstract"),
    "published.efficientnet.top1": (84.3, "Tan and Le, arXiv:1905.11946v5, abstract"),
}

# Networks on ImageNet, single crops of 224 x 224 pixels: title, top-1 in percent, MACs and parameters in
# millions, source.
NETWORKS = {
    "mobilenetv2": ("MobileNetV2", 72.0, 300, 3.4, "Sandler et al., arXiv:1801.04381, table 4"),
    "mnasnet": ("MnasNet-A1", 75.2, 312, 3.9, "Tan et al., arXiv:1807.11626, table 1"),
    "mobilenetv3": ("MobileNetV3-Large", 75.2, 219, 5.4, "Howard et al., arXiv:1905.02244, table 3"),
    "efficientnet_b0": ("EfficientNet-B0", 77.1, 390, 5.3, "Tan and Le, arXiv:1905.11946v5, table 2"),
    "condconv": (
        "CondConv-EfficientNet-B0, 8 experts",
        *(78.3, 413, 24.0),
        "Yang et al., arXiv:1904.04971, abstract; parameters counted in timm's tf_efficientnet_cc_b0_8e",
    ),
}
