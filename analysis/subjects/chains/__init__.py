"""Networks of protein chains: perplexity, recovery and attention profiles."""
