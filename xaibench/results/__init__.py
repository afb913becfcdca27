"""Who is better, and how surely: rows on disk, statistics over recordings, the comparison."""
