"""How results are shown: tables, leaderboards, plots, and figures of explained clips."""
