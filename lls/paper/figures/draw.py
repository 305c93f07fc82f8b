"""Draw a declared figure as PNG and PDF."""

import importlib
from pathlib import Path

from lls.files import write_atomic
from lls.paper.figures.declaration import Figure

DPI = 250  # of the PNG, and of the points of t-SNE in the PDF
# keys of the PNG's metadata: the ids of all runs that are drawn, and of those that are drawn in part
DRAWN, PARTLY_DRAWN = "Description", "Partly drawn"


def draw(figure: Figure, *, dpi: int = DPI) -> tuple[Path, Path]:
    """Write a figure as PNG and PDF to <machine.output>/figures and return both paths.

    The panel of a missing run shows why it is empty. If nothing can be drawn, the figure is one small panel with the
    command that trains the runs. The metadata of both files names the runs that are drawn, in full or in part."""
    from lls.paper.figures import page

    png, pdf = paths_of(figure)
    module = importlib.import_module(f"lls.paper.figures.{figure.drawing}")
    # a drawing that leaves out finished runs says which ones it draws
    runs = " ".join(module.drawn_runs(figure) if hasattr(module, "drawn_runs") else figure.drawable_runs)
    title = page.figure_title(figure)
    metadata = {"Title": f"Figure {figure.name}: {title}" if figure.name.isdigit() else title}
    png_metadata = metadata | {DRAWN: runs, "Software": None}
    if figure.partly_drawable_runs:
        png_metadata[PARTLY_DRAWN] = " ".join(figure.partly_drawable_runs)
    pdf_metadata = metadata | {"Keywords": runs, "CreationDate": None}
    with page.style():
        drawing = module.draw(figure) if figure.drawable_runs else page.draw_command(figure)
        page.add_title(drawing, figure)
        drawing.draw_without_rendering()  # the layout of square panels needs two passes
        write_atomic(png, lambda path: drawing.savefig(path, format="png", dpi=dpi, metadata=png_metadata))
        write_atomic(pdf, lambda path: drawing.savefig(path, format="pdf", dpi=dpi, metadata=pdf_metadata))
    return png, pdf


def paths_of(figure: Figure) -> tuple[Path, Path]:
    """Return the paths of a figure's PNG and PDF: `8-budget-0.05.png`; without title, `no-title-8-budget-0.05.png`."""
    folder = Path(figure.panels[0].run.cfg.machine.output) / "figures"
    return folder / f"{figure.stem}.png", folder / f"{figure.stem}.pdf"


def lost_runs(figure: Figure) -> list[str]:
    """Return the ids of the runs of which the figure's existing PNG shows more than can be drawn now.

    Weights are not tracked by git, so a fresh clone can draw less than a tracked PNG shows."""
    from PIL import Image

    png, _ = paths_of(figure)
    try:
        with Image.open(png) as image:
            drawn, partly_drawn = (image.info.get(key, "").split() for key in (DRAWN, PARTLY_DRAWN))
    except OSError:  # there is no such file, or it is no image
        return []
    still_drawable = {*partly_drawn} & {*figure.partly_drawable_runs}
    return [run_id for run_id in figure.missing if run_id in drawn and run_id not in still_drawable]
