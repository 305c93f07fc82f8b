"""Draw a declared figure as PNG and PDF."""

import importlib
from pathlib import Path

from lls.files import file_stem, write_atomic
from lls.paper.figures.declaration import Figure

DPI = 250


def draw(figure: Figure, *, dpi: int = DPI) -> tuple[Path, Path]:
    """Write a figure as PNG and PDF to <machine.output>/figures and return both paths.

    The panel of a missing run shows why it is empty. The metadata of both files names the runs that are shown."""
    from lls.paper.figures import page

    folder = Path(figure.panels[0].run.cfg.machine.output) / "figures"
    # SMOKE=1 is no part of the file name, because small runs have an output folder of their own.
    stem = file_stem(figure.name, [text for text in figure.deviations if text != "SMOKE=1"])
    png, pdf = folder / f"{stem}.png", folder / f"{stem}.pdf"
    runs = " ".join(sorted({panel.run.id for panel in figure.panels} - set(figure.missing)))
    title = page.figure_title(figure)
    metadata = {"Title": f"Figure {figure.name}: {title}" if figure.name.isdigit() else title}
    png_metadata = metadata | {"Description": runs, "Software": None}
    pdf_metadata = metadata | {"Keywords": runs, "CreationDate": None}
    with page.style():
        drawing = importlib.import_module(f"lls.paper.figures.{figure.drawing}").draw(figure)
        drawing.suptitle(title, fontsize=8, linespacing=1.4)
        drawing.draw_without_rendering()  # the layout of square panels needs two passes
        write_atomic(png, lambda path: drawing.savefig(path, format="png", dpi=dpi, metadata=png_metadata))
        write_atomic(pdf, lambda path: drawing.savefig(path, format="pdf", metadata=pdf_metadata))
    return png, pdf
