"""The paper's tables, figures and claims, and one page with all of it."""
