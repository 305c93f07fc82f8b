"""Figure 4: the confusion matrix of the test images beside the learned Q."""

import numpy as np

from lls.heatmap import colour_bar, heatmap, q_heatmap
from lls.paper.figures.declaration import Figure, missing_reason
from lls.paper.figures.page import Drawing, empty_panel, make_figure
from lls.paper.figures.qmatrices import probabilities
from lls.runs.summary import format_measure
from lls.training.confusion import CONFUSION, load_confusion


def draw(figure: Figure) -> Drawing:
    """Draw the confusions in per cent of each true class, and softmax(Q) with its rank correlation to them."""
    (panel,) = figure.panels
    run = panel.run
    drawing, (pair,) = make_figure(1, 2, height=3.45)
    left, right = pair
    if reason := missing_reason(run, figure.needs):
        for axes, name in zip(pair, ("(a) confusions", "(b) learned Q"), strict=True):
            axes.set_title(name, pad=4)
            empty_panel(axes, reason)
        return drawing
    rows, classes = load_confusion(run.folder / CONFUSION)
    counts, (q, _) = np.array(rows), probabilities(run)
    percentages = 100 * counts / counts.sum(1, keepdims=True)
    colour_bar(left, heatmap(left, percentages, classes, digits=0, plain_diagonal=True), "%")
    colour_bar(right, q_heatmap(right, q, classes, ylabels=False), "$Q_{yj}$")
    left.set_title(f"(a) confusions, top-1 {format_measure(run.result, 'top1', '.2f', ' %')}", pad=4)
    rank = run.result.get("q_confusion")
    right.set_title("(b) learned Q" + (f", rank correlation with (a) {rank:.2f}" if rank is not None else ""), pad=4)
    left.set_ylabel("true class")
    left.set_xlabel("predicted class")
    right.set_xlabel("class that the label is shared with")
    return drawing
