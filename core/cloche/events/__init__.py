"""What guests do, as records: the model, where they come from, how they are kept."""
