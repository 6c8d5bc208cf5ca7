"""`make bench`: what the product costs, as ratios taken in one run, and as exact counts. Writes build/bench.json."""
