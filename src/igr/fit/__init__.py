"""The paper's objective, the batches, and the only training loop."""
