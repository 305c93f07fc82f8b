"""LaTeX of a rendered table: a tabular of the package booktabs, for \\input."""

from collections.abc import Sequence

# Marks survive `escape` as single characters, and become commands by it.
BOLD, UNDERLINE, SUPERSCRIPT, END = "\x01", "\x02", "\x04", "\x03"
COMMANDS = {
    **{"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "±": r"$\pm$", "→": r"$\to$"},
    **{"·": r"$\cdot$", "–": "--", "−": "$-$", "½": r"$\frac12$", "α": r"$\alpha$"},
    **{"≈": r"$\approx$", "≠": r"$\neq$", "†": r"\dag{}"},
    **{BOLD: r"\textbf{", UNDERLINE: r"\underline{", SUPERSCRIPT: r"\textsuperscript{", END: "}"},
}


def escape(text: str) -> str:
    """Replace the characters that mean something to LaTeX, and the marks of this module, by commands."""
    return "".join(COMMANDS.get(character, character) for character in text)


def tabular(comments: Sequence[str], grid: list[list[str]], notes: Sequence[str]) -> str:
    """Return comment lines, a tabular with one header row, and footnotes below it. The texts are not yet escaped."""
    header, *rows = (" & ".join(map(escape, line)) + r" \\" for line in grid)
    lines = [*(f"% {comment}" for comment in comments), rf"\begin{{tabular}}{{l{'r' * (len(grid[0]) - 1)}}}"]
    lines += [r"\toprule", header, r"\midrule", *rows, r"\bottomrule", r"\end{tabular}"]
    return "\n".join([*lines, *(rf"\par\footnotesize {escape(note)}" for note in notes)]) + "\n"
