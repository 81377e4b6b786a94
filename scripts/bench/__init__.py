"""What the benchmarks of whole servers share: weights, contestants, one measurement, figures."""
