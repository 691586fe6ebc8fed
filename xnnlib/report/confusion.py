"""Which classes a network takes for which."""

import matplotlib.pyplot as plt
import seaborn as sns
import torch
from matplotlib.figure import Figure
from torch import Tensor


def confusion_matrix(labels: Tensor, predictions: Tensor, num_classes: int) -> Tensor:
    """Counts (num_classes, num_classes) of images by true class (row) and predicted class (column)."""
    pairs = labels.cpu() * num_classes + predictions.cpu()
    return torch.bincount(pairs, minlength=num_classes**2).view(num_classes, num_classes)


def confusion_figure(matrix: Tensor, class_names: list[str]) -> Figure:
    """The confusion matrix in percent of each true class; cells are named for 20 classes or fewer."""
    percent = 100.0 * matrix / matrix.sum(1, keepdim=True).clamp(min=1)
    few = len(class_names) <= 20
    figure, axes = plt.subplots(figsize=(6.0, 5.0), layout="constrained")
    sns.heatmap(
        percent.numpy(),
        ax=axes,
        vmin=0,
        vmax=100,
        cmap="cividis",
        annot=few,
        fmt=".0f",
        square=True,
        xticklabels=class_names if few else False,
        yticklabels=class_names if few else False,
        cbar_kws={"label": "images of the true class (%)"},
    )
    axes.set(xlabel="predicted class", ylabel="true class")
    return figure
