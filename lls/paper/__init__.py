"""The paper's tables, figures and claims, and a report that shows them on one page."""
