"""Draw a declared figure as PNG and PDF."""

import importlib
from pathlib import Path

from lls.files import file_stem, write_atomic
from lls.paper.figures.declaration import Figure

DPI = 250  # of the PNG, and of the points of t-SNE in the PDF


def draw(figure: Figure, *, dpi: int = DPI) -> tuple[Path, Path]:
    """Write a figure as PNG and PDF to <machine.output>/figures and return both paths.

    The panel of a missing run shows why it is empty. If nothing can be drawn, the figure is one small panel with the
    command that trains the runs. The metadata of both files names the runs that are shown."""
    from lls.paper.figures import page

    png, pdf = paths_of(figure)
    runs = " ".join(sorted({panel.run.id for panel in figure.panels} - set(figure.missing)))
    title = page.figure_title(figure)
    metadata = {"Title": f"Figure {figure.name}: {title}" if figure.name.isdigit() else title}
    png_metadata = metadata | {"Description": runs, "Software": None}
    pdf_metadata = metadata | {"Keywords": runs, "CreationDate": None}
    with page.style():
        if figure.drawable:
            drawing = importlib.import_module(f"lls.paper.figures.{figure.drawing}").draw(figure)
        else:
            drawing = page.draw_command(figure)
        page.add_title(drawing, figure)
        drawing.draw_without_rendering()  # the layout of square panels needs two passes
        write_atomic(png, lambda path: drawing.savefig(path, format="png", dpi=dpi, metadata=png_metadata))
        write_atomic(pdf, lambda path: drawing.savefig(path, format="pdf", dpi=dpi, metadata=pdf_metadata))
    return png, pdf


def paths_of(figure: Figure) -> tuple[Path, Path]:
    """Return the paths of a figure's PNG and PDF: `8-budget-0.05.png`; without title, `no-title-8-budget-0.05.png`."""
    folder = Path(figure.panels[0].run.cfg.machine.output) / "figures"
    # SMOKE=1 is no part of the file name, because small runs have an output folder of their own.
    stem = file_stem(figure.name, [text for text in figure.deviations if text != "SMOKE=1"])
    stem = stem if figure.with_title else f"no-title-{stem}"
    return folder / f"{stem}.png", folder / f"{stem}.pdf"


def lost_runs(figure: Figure) -> list[str]:
    """Return the ids of the runs that the figure's existing PNG shows and that cannot be drawn now.

    Weights are not tracked by git, so a fresh clone can draw less than a tracked PNG shows."""
    from PIL import Image

    png, _ = paths_of(figure)
    try:
        with Image.open(png) as image:
            shown = image.info.get("Description", "").split()
    except OSError:  # there is no such file, or it is no image
        return []
    return [run_id for run_id in figure.missing if run_id in shown]
