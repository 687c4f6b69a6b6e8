"""What the zoo reproduces of each paper, one file a paper: ``reproduce(bench) -> Section``."""
