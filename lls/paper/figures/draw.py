"""A declared figure as PNG and PDF."""

import importlib
from pathlib import Path

from lls.files import file_stem, write_atomic
from lls.paper.figures.declaration import Figure


def draw(figure: Figure) -> tuple[Path, Path]:
    """Draw a figure as PNG and PDF under <machine.output>/figures and return their paths. A panel whose run is missing
    says so. The PNG's metadata names the runs that are shown."""
    from lls.paper.figures import page

    folder = Path(figure.panels[0].run.cfg.machine.output) / "figures"
    stem = file_stem(figure.name, [text for text in figure.stated if text != "SMOKE=1"])  # it has a folder of its own
    png, pdf = folder / f"{stem}.png", folder / f"{stem}.pdf"
    runs = " ".join(sorted({panel.run.id for panel in figure.panels} - set(figure.missing)))
    about = {"Title": f"Figure {figure.name}: {page.figure_title(figure)}"}
    with page.style():
        drawing = importlib.import_module(f"lls.paper.figures.{figure.drawing}").draw(figure)
        drawing.suptitle(page.figure_title(figure), fontsize=8, linespacing=1.4)
        drawing.draw_without_rendering()  # the layout of square panels settles in the second pass
        keys = about | {"Description": runs, "Software": None}
        write_atomic(png, lambda path: drawing.savefig(path, format="png", dpi=page.DPI, metadata=keys))
        keys = about | {"Keywords": runs, "CreationDate": None}
        write_atomic(pdf, lambda path: drawing.savefig(path, format="pdf", metadata=keys))
    return png, pdf
