"""What asv measures, one file for each group; docs/benchmarks.md describes them."""
